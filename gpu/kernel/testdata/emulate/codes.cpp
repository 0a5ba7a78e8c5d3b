// codes FILE runs skinny_codes.cu on the processor: FILE is a Job, weights, x, norm, scales
// and what y was, which y replaces.
#include "emulate.h"
#include "halves.h"
struct float2 { float x, y; };
inline float2 make_float2(float x, float y) { return {x, y}; }
#define __align__(n)
#define load_shared_float load_shared_float_there
#define store_shared store_shared_there
#define store_shared_floats store_shared_floats_there
#define bring_to_l2 bring_to_l2_there
#include "../../skinny.cuh"
#undef load_shared_float
#undef store_shared
#undef store_shared_floats
#undef bring_to_l2
inline float load_shared_float(u32 from) { return __uint_as_float(load_shared4(from)); }
inline void store_shared_floats(u32 to, float2 v) { store_shared(to, v.x), store_shared(to + 4, v.y); }
inline void bring_to_l2(const void*) {}

inline void unpack(Vec4 v, float* f) {
  u32 w[4] = {v.x, v.y, v.z, v.w};
  for (int i = 0; i < 8; i++) f[i] = i % 2 ? high(w[i / 2]) : low(w[i / 2]);
}
inline void floats8(Vec4 a, Vec4 b, float* f) { memcpy(f, &a, 16), memcpy(f + 4, &b, 16); }
inline float rsqrtf(float v) { return 1 / std::sqrt(v); }
#define CODES_WIDE 1
u8 memory[1];
#include "../../skinny_codes.cu"

struct Job {
  int n, in, out, ld, form, stride, rounded, blocks, weights, x, scales, y, seed; // the last but one: bytes
};

template <int TOKENS, int DUOS, int DEPTH, bool BLOCKS>
void choose(const SkinnyArgs& a, const Job& j) {
  if (Codes8<TOKENS, DUOS, DEPTH, BLOCKS, true, GATE>::BYTES > (int)emulate::SHARED) emulate::fail("shared memory");
  emulate::run(j.blocks, 1, 32 * WARPS, [&] {
    switch (j.form) {
      case 0: return skinny_codes<TOKENS, DUOS, DEPTH, BLOCKS, true, FLOATS>(a);
      case 1: return skinny_codes<TOKENS, DUOS, DEPTH, BLOCKS, true, GATE>(a);
      case 2: return skinny_codes<TOKENS, DUOS, DEPTH, BLOCKS, false, ADD>(a);
    }
  });
}

int main(int argc, char** argv) {
  Job j;
  FILE* f = emulate::open(argc, argv, j);
  auto read = [&](size_t bytes) { return emulate::read(f, bytes); };
  SkinnyArgs a = {};
  a.n = j.n, a.in = j.in, a.out = j.out, a.ld = j.ld, a.scale_stride = j.stride, a.rounded = j.rounded, a.eps = 1e-6f;
  a.w = (const bf16*)read(j.weights), a.x = read(j.x), a.norm = (const bf16*)read(2 * j.in), a.scales = (const float*)read(j.scales);
  long at = ftell(f);
  a.y = read(j.y);
  if (j.stride) {
    j.n <= 8 ? choose<8, EIGHT_BLOCKS, true>(a, j) : choose<16, SIXTEEN_BLOCKS, true>(a, j);
  } else {
    j.n <= 8 ? choose<8, EIGHT, false>(a, j) : choose<16, SIXTEEN, false>(a, j);
  }
  fseek(f, at, SEEK_SET);
  fwrite(a.y, 1, j.y, f);
  return fclose(f);
}
