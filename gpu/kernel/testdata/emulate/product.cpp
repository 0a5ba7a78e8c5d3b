// product runs product_hopper.cu: FILE has a Job, w, x and what y was, which it replaces.
#include "emulate.h"
#include "tensor.h"
#define __align__(n)
u8 memory[1];
#include "../../product_hopper.cu"

struct Job {
  int n, most, in, out, ld, form, y_bytes, tokens, rows, box, split, depth, seed, codes;
};

template <int N, int MT>
void launch(const ProductArgs& a, bool codes) {
  int clusters = (a.out + a.rows - 1) / a.rows * ((a.n + N - 1) / N);
  emulate::run(clusters * a.split, a.split, 288, [&] {
    if (codes) {
      multiply<N, MT, true>(a);
    } else {
      multiply<N, MT, false>(a);
    }
  });
}

int main(int argc, char** argv) {
  Job j;
  FILE* f = emulate::open(argc, argv, j);
  auto read = [&](size_t bytes) { return emulate::read(f, bytes); };
  int halves = j.codes ? j.in / 2 : j.in;
  ProductArgs a = {};
  a.n = j.n, a.out = j.out, a.ld = j.ld, a.form = j.form, a.rows = j.rows, a.box = j.box;
  a.chunks = halves / 64, a.split = j.split, a.depth = j.depth;
  a.w = {{(u64)read((size_t)j.out * halves * 2), (u64)j.out, (u64)halves, (u64)j.box, 1}};
  a.x = {{(u64)read((size_t)j.most * halves * 2), (u64)j.most, (u64)halves, (u64)j.tokens}};
  long at = ftell(f);
  a.y = read(j.y_bytes);
  switch (j.tokens * 10 + (j.rows + 127) / 128) {
    case 161: launch<16, 1>(a, j.codes); break;
    case 162: launch<16, 2>(a, j.codes); break;
    case 163: launch<16, 3>(a, j.codes); break;
    case 322: launch<32, 2>(a, j.codes); break;
    case 641: launch<64, 1>(a, j.codes); break;
    case 643: launch<64, 3>(a, j.codes); break;
    default: emulate::fail("not built", j.tokens, j.rows);
  }
  fseek(f, at, SEEK_SET);
  fwrite(a.y, 1, j.y_bytes, f);
  return fclose(f);
}
