// int4: int4.cuh, with C++ in place of its assembly, and the jobs of tests.
inline void __threadfence() {}
inline int atomicAdd(int* at, int v) { return (*at += v) - v; } // one fiber at a time
#define load_fresh load_fresh_there
#define behind128 behind128_there
#define pair4 pair4_there
#include "../../int4.cuh"
#undef load_fresh
#undef behind128
#undef pair4
inline float load_fresh(const float* p) { return *p; }
inline u32 behind128(u32 halves) { return halves & 0x000f000fu | 0x43004300u; }
inline u32 pair4(u32 word, int i, u32 zero) {
  u32 v = behind128(word >> (4 * i));
  return pack(low(v) + low(zero), high(v) + high(zero));
}
inline u32 times2(u32 v, u32 by) { return pack(low(v) * low(by), high(v) * high(by)); }
u8 memory[1];

struct Job {
  int n, in, out, ld, groups, form, y_bytes, clusters, variant, seed, split;
};

// job has a kernel do what FILE says, which is a Job, weights, x and what y was; y
// replaces the latter.
inline int job(int argc, char** argv, void (*does)(const Int4Args&, const Job&)) {
  Job j;
  FILE* f = emulate::open(argc, argv, j);
  auto read = [&](size_t bytes) { return emulate::read(f, bytes); };
  Int4Args a = {};
  a.n = j.n, a.in = j.in, a.out = j.out, a.ld = j.ld, a.groups = j.groups, a.form = j.form, a.split = j.split, a.inverse = 0xffffffffu / j.clusters + 1;
  a.w = read((size_t)j.out / 16 * (j.in / 128) * block_bytes(j.groups));
  a.x = (const bf16*)read((size_t)j.n * j.in * 2);
  long at = ftell(f);
  a.y = read(j.y_bytes);
  does(a, j);
  fseek(f, at, SEEK_SET);
  fwrite(a.y, 1, j.y_bytes, f);
  return fclose(f);
}
