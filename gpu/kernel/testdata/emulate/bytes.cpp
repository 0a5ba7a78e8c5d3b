// bytes runs int4_bytes.cuh.
#include "emulate.h"

#include "bytes.h"
#include "tensor.h"

#include "int4.h"
#define __align__(n)
#include "../../int4_bytes.cuh"

template <int GROUPS, int WARPS, int DEPTH>
void launch(const Int4Args& a, int clusters) {
  emulate::run(clusters * a.split, a.split, WARPS * 32, [&] { bytes<GROUPS, WARPS, DEPTH>(a); });
}
template <int GROUPS>
void choose(const Int4Args& a, const Job& j) {
  switch (j.variant) {
    case 0: return launch<GROUPS, 3, 2>(a, j.clusters);
    case 1: return launch<GROUPS, 16, 3>(a, j.clusters);
  }
  emulate::fail("no such variant", j.variant);
}

int main(int argc, char** argv) {
  return job(argc, argv, [](const Int4Args& a, const Job& j) { j.groups == 1 ? choose<1>(a, j) : j.groups == 2 ? choose<2>(a, j) : choose<4>(a, j); });
}
