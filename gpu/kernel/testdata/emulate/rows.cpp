// rows runs int4_rows.cuh.
#include "emulate.h"

#include "int4.h"
#define __align__(n)
#include "../../int4_rows.cuh"

template <int TILES, int GROUPS, int WARPS, int DUOS, int STAGES>
void launch(const Int4Args& a, int blocks) {
  using R = Rows<TILES, GROUPS, WARPS, DUOS, STAGES>;
  if (R::BYTES > (int)emulate::SHARED) emulate::fail("shared memory", R::BYTES);
  emulate::run(blocks, 1, WARPS * 32, [&] { rows<TILES, GROUPS, WARPS, DUOS, STAGES>(a); });
}
template <int GROUPS>
void choose(const Int4Args& a, const Job& j) {
  switch (j.variant) {
    case 0: return launch<1, GROUPS, 4, 2, 2>(a, j.clusters);
    case 1: return launch<1, GROUPS, 8, 2, 3>(a, j.clusters);
    case 2: return launch<2, GROUPS, 2, 4, 4>(a, j.clusters);
    case 3: return launch<2, GROUPS, 12, 3, 4>(a, j.clusters);
    case 4: return launch<1, GROUPS, 16, 6, 3>(a, j.clusters);
  }
  emulate::fail("no such variant", j.variant);
}

int main(int argc, char** argv) {
  return job(argc, argv, [](const Int4Args& a, const Job& j) { j.groups == 1 ? choose<1>(a, j) : j.groups == 2 ? choose<2>(a, j) : choose<4>(a, j); });
}
