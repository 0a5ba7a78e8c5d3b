// split runs int4_split_hopper.cu.
#include "emulate.h"

#include "int4.h"
#define __align__(n)
#define MANY_SHARED (215 << 10)
#include "../../int4_many.cuh"
#include "../../int4_split_hopper.cu"

template <int TOKENS, int SPLIT>
void launch(const Int4Args& a, int clusters) {
  emulate::run(clusters * SPLIT, SPLIT, 384, [&] { split<TOKENS, SPLIT>(a); });
}

int main(int argc, char** argv) {
  return job(argc, argv, [](const Int4Args& a, const Job& j) {
    switch (j.variant) {
      case 1: return launch<64, 1>(a, j.clusters);
      case 2: return launch<64, 2>(a, j.clusters);
    }
    emulate::fail("no such variant", j.variant);
  });
}
