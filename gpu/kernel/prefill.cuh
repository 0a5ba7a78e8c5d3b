// prefill: what the kernels that attend over prompts are given. It comes after
// common.cuh.
#define GROUP (HEADS / KV_HEADS) // query heads that share a key head

struct Tile {
  int slot;
  int token;    // of the step, the run's first
  int position; // of that token
  int tokens;   // in the run
  int pair;     // the tile's first pair in the run
};

struct PrefillArgs {
  const bf16* q;
  const bf16* kv;
  const int* table;
  const Tile* tiles;
  bf16* out;
  int table_stride;
  float scale; // log2(e)/√D
  int count;   // of tiles
};
