// draw: what drawing tokens and reporting their log-probabilities share. It
// comes after common.cuh.
#define NO_TOKEN (-1)

struct Bias { int token; float bias; };

struct Slot {
  u64 seed;
  const Bias* bias;
  const int* suppress;
  int biases, suppressed;
  int suppress_below;
  int penalized;
  float temperature, top_p, min_p;
  int top_k;
  float presence, frequency, repetition;
  int logprobs;
};

struct Draw {
  const u32* allow; // bit set, or null
  int row;          // its place in the result
  int slot;
  int position;     // the drawn token's
  short ahead;      // how many of its row's draws, which lie side by side, come before it
  short drafts;     // of its row
};

struct Alternative { int token; float logprob; };

// rank is a token's place in the order of all, as an integer: higher is
// better, and no two are equal.
__device__ __forceinline__ u64 rank(float z, int token) {
  u32 b = __float_as_uint(z + 0.f); // −0 is 0
  b ^= b >> 31 ? 0xffffffffu : 0x80000000u;
  return (u64)b << 32 | (u32)~token;
}
