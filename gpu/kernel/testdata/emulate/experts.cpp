// experts runs moe_tiles.cuh, what makes its codes bf16, and moe_hopper_codes.cuh.
#include "emulate.h"
#define fresh fresh_there
#define times times_there
#include "../../moe.cuh"
#undef fresh
#undef times
#define __align__(n)
inline int fresh(const int* p) { return *p; }
inline ExpertTile tile_at_there(const ExpertTile* tiles, int i, bool there) { return there ? tiles[i] : ExpertTile{0, 0, 0, 0}; }
#define tile_at tile_at_there
inline u32 times(u32 v, u32 by) { return pack(low(v) * low(by), high(v) * high(by)); }
inline Vec4 load16(const void* p) {
  if ((u64)p % 16) emulate::fail("load16: not aligned", (u64)p);
  return *(const Vec4*)p;
}
inline void __threadfence() {}
inline void store16(void* p, Vec4 v) { *(Vec4*)p = v; }
u8 memory[1];
#include "../../moe_codes.cuh"
#include "../../moe_tiles.cuh"
namespace hopper {
#include "../../moe_hopper_codes.cuh"
}

struct Job {
  int bits, form, rows, in, out, experts, stride, x_rows, entries, tiles, blocks, seed, w_bytes, scale_bytes, y_bytes;
};

template <int BITS, bool UP, bool TOKENS_IN>
void launch(const ExpertArgs& a, const Job& j) {
  switch (j.rows) {
    case 16: return emulate::run(j.blocks, 1, 128, [&] { experts<BITS, UP, TOKENS_IN, BITS == 16 ? 4 : 2, 1, BITS == 16 ? 1 : 2, 1, 2, BITS == 4 ? 4 : BITS == 8 ? 3 : 8>(a); });
    case 32: return emulate::run(j.blocks, 1, 128, [&] { experts<BITS, UP, TOKENS_IN, 4, 1, 1, 2, 4, BITS == 8 ? 3 : 4>(a); });
    case 64: return emulate::run(j.blocks, 1, 128, [&] { experts<BITS, UP, TOKENS_IN, BITS == 16 ? 2 : 4, BITS == 16 ? 2 : 1, 1, BITS == 16 ? 4 : 2, BITS == 16 ? 4 : 8, BITS == 8 ? 3 : 4>(a); });
  }
  if constexpr (BITS < 16)
    if (j.rows == 128) return emulate::run(j.blocks, 1, 384, [&] { hopper::experts<BITS, UP, TOKENS_IN>(a); });
  emulate::fail("tiles of so many rows", j.rows);
}
template <int BITS>
void choose(const ExpertArgs& a, const Job& j) {
  switch (j.form) {
    case 0: return launch<BITS, true, true>(a, j);
    case 1: return launch<BITS, false, true>(a, j);
    case 2: return launch<BITS, false, false>(a, j);
  }
  WidenExpertsArgs w = {(const u8*)a.w, a.scales, (bf16*)a.y, (long long)j.experts * a.out, a.in, a.stride};
  emulate::run((w.rows + 7) / 8, 1, 256, [&] { widen_experts<BITS == 16 ? 8 : BITS>(w); });
}

int main(int argc, char** argv) {
  Job j;
  FILE* f = emulate::open(argc, argv, j);
  auto read = [&](size_t bytes) { return emulate::read(f, bytes); };
  ExpertArgs a = {};
  a.in = j.in, a.out = j.out, a.stride = j.stride;
  a.w = (const bf16*)read(j.w_bytes), a.scales = read(j.scale_bytes), a.x = (const bf16*)read((size_t)j.x_rows * j.in * 2);
  a.entries = (const ExpertEntry*)read(j.entries * sizeof(ExpertEntry)), a.tiles = (const ExpertTile*)read(j.tiles * sizeof(ExpertTile));
  a.count = &j.tiles;
  long at = ftell(f);
  a.y = read(j.y_bytes);
  j.bits == 16 ? choose<16>(a, j) : j.bits == 8 ? choose<8>(a, j) : choose<4>(a, j);
  fseek(f, at, SEEK_SET);
  fwrite(a.y, 1, j.y_bytes, f);
  return fclose(f);
}
