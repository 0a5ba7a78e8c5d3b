// What comes between projections and attention, each by itself: where other ops
// stand in between, or not all of it is done. rope.cu does it at once.
// Math:    fp32, rounded once
// Limit:   memory traffic
// Checked: TestRope, TestStore, TestRoundQueries

// rope: turns the leading N elements of heads in place.
//   x         f32 [T, ·]         heads [H, D], stride from row to row
//   angles    f32 [·, N/2, 2]    cosine and sine by position
//   positions i32 [T]
//   x'[i] = x[i]·cos − x[i+N/2]·sin,  x'[i+N/2] = x[i+N/2]·cos + x[i]·sin   i < N/2
// Math:    arXiv:2104.09864
// Launch:  a thread a pair
struct TurnArgs {
  float* x;
  const float* angles;
  const int* positions;
  int tokens, heads, head_dim, dims, stride;
};

extern "C" __global__ void __launch_bounds__(256) rope(const __grid_constant__ TurnArgs a) {
  wait_for_previous();
  let_next_start();
  int i = blockIdx.x * blockDim.x + threadIdx.x, half = a.dims / 2;
  if (i >= a.tokens * a.heads * half) return;
  int pair = i % half, head = i / half % a.heads, t = i / half / a.heads;
  float* x = a.x + (size_t)t * a.stride + head * a.head_dim + pair;
  float2 turn = *(const float2*)(a.angles + ((size_t)a.positions[t] * half + pair) * 2);
  float x0 = x[0], x1 = x[half];
  x[0] = x0 * turn.x - x1 * turn.y;
  x[half] = x1 * turn.x + x0 * turn.y;
}

// store: enters keys and values into pages.
//   keys, values f32 [T, ·]           heads [H, D], strides from row to row
//   positions    i32 [T]
//   slots        i32 [T]              < 0: padding, nothing is entered
//   table        i32 [·, M]           table[slot][p/S] is the page of position p
//   kv           bf16 [P, 2, H, S, D] one layer's pages; written. Without values
//                                     [P, H, S, D]: they are keys' leading elements
// Launch:  a thread for eight elements
struct StoreArgs {
  const float* keys;
  const float* values;
  const int* positions;
  const int* slots;
  const int* table;
  bf16* kv;
  int tokens, heads, dim, page_size, table_stride, key_stride, value_stride;
};

extern "C" __global__ void __launch_bounds__(256) store(const __grid_constant__ StoreArgs a) {
  wait_for_previous();
  let_next_start();
  int i = blockIdx.x * blockDim.x + threadIdx.x, chunks = a.dim / 8, sides = a.values ? 2 : 1;
  if (i >= a.tokens * sides * a.heads * chunks) return;
  int chunk = i % chunks, head = i / chunks % a.heads, side = i / chunks / a.heads % sides, t = i / chunks / a.heads / sides;
  int slot = a.slots[t], position = a.positions[t];
  if (slot < 0) return;
  const float* from = side ? a.values + (size_t)t * a.value_stride : a.keys + (size_t)t * a.key_stride;
  from += head * a.dim + chunk * 8;
  float x[8];
  floats8(load16(from), load16(from + 4), x);
  size_t page = a.table[(size_t)slot * a.table_stride + position / a.page_size];
  store16(a.kv + (((page * sides + side) * a.heads + head) * a.page_size + position % a.page_size) * a.dim + chunk * 8, pack8(x));
}

// round_queries: y bf16 [T, W] of x f32 [T, ·], stride from row to row.
// Launch:  a thread for eight elements
struct QueriesArgs {
  const float* x;
  bf16* y;
  int tokens, width, stride;
};

extern "C" __global__ void __launch_bounds__(256) round_queries(const __grid_constant__ QueriesArgs a) {
  wait_for_previous();
  let_next_start();
  int i = blockIdx.x * blockDim.x + threadIdx.x, chunks = a.width / 8;
  if (i >= a.tokens * chunks) return;
  const float* from = a.x + (size_t)(i / chunks) * a.stride + i % chunks * 8;
  float x[8];
  floats8(load16(from), load16(from + 4), x);
  store16(a.y + (size_t)i * 8, pack8(x));
}
