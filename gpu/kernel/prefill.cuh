// prefill: what the kernels that attend over prompts are given. It comes after
// common.cuh.
#define GROUP (HEADS / KV_HEADS) // query heads that share a key head

struct Tile {
  int slot;
  int token;    // of the step, the run's first
  int position; // of that token
  int tokens;   // in the run
  int pair;     // the tile's first pair in the run
  int split;    // 1 + which split of the keys, of a run of one token; 0: all keys
  int part;     // where the split's sums go
};

struct PrefillArgs {
  const bf16* q;
  const bf16* kv;
  const int* table;
  const Tile* tiles;
  const int* count;  // of tiles
  bf16* out;
  const bf16* sinks; // [Hq]; null: none
  int table_stride;
  float scale;       // the scores', in powers of 2: log2(e)/√D
  int window;        // positions that a token sees; INT_MAX: all
  float* kept;       // of the Hopper kernel with SPLIT_KEYS: a block's sums
  float* parts;      // and those of splits
  u32* arrived;      // splits of a run and key head that are done; zero before and after
};

// first_key is the first key that a tile sees.
__device__ __forceinline__ int first_key(const Tile& t, int window) {
  return max(0, t.position + t.pair / GROUP + 1 - window);
}
