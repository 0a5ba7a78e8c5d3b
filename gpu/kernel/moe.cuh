// moe: how tokens lie at their experts, and what the products of experts are
// given: see moe_route.cu and moe_tiles.cu.

struct alignas(16) ExpertTile { // some entries of one expert
  int expert, first, count;
  int unused;
};
struct alignas(16) ExpertEntry { // a token at one of its experts
  int token;
  float share, scale;
  int expert;
};

struct ExpertArgs {
  const bf16* x;
  const bf16* w;
  const void* scales; // of codes: see moe_tiles.cuh
  const ExpertEntry* entries;
  const ExpertTile* tiles;
  const int* count;
  void* y;
  int in, out; // out: I or H
  int stride;  // of scales
};

// Past L1: what other blocks, or the kernel before the last one, have written.
__device__ __forceinline__ int fresh(const int* p) {
  int v;
  asm volatile("ld.global.cg.s32 %0, [%1];" : "=r"(v) : "l"(p) : "memory");
  return v;
}
__device__ __forceinline__ ExpertTile tile_at(const ExpertTile* tiles, int i, bool there) {
  if (!there) return {0, 0, 0, 0};
  const int* p = (const int*)(tiles + i);
  return {fresh(p), fresh(p + 1), fresh(p + 2), 0};
}

// times multiplies pairs of bf16, to the nearest.
__device__ __forceinline__ u32 times(u32 v, u32 by) {
  u32 r;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(r) : "r"(v), "r"(by), "r"(0x80008000u)); // −0: zeros keep their signs
  return r;
}
