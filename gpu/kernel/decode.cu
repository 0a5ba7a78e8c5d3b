// paged_decode: attention of one new token per row over its paged history.
//   q      bf16 [R, Hq, D]
//   kv     bf16 [P, 2, Hkv, S, D] one layer's pages, read only; with KV_CODES E4M3, and
//   kv_scales f32 [P, 2, Hkv, S]  their scales
//   table  i32  [·, M]            table[slots[r]][j] is the j-th page of row r
//   slots  i32  [R]
//   lens   i32  [R]               newest included; 0: padding, nothing is written
//   sinks  bf16 [Hq]              null: none
//   out    bf16 [R, Hq, D]
//   out[r,h] = Σ_t softmax_t(scale·q[r,h]·K_t) V_t over the last window positions;
//   exp(sinks[h]) is added to the sum under the softmax
// Defines: HEADS, KV_HEADS (group Hq/Hkv ≤ 16), HEAD_DIM (32 to 256, see Shape),
//          PAGE_SIZE, STAGES of copies under way per warp, KV_CODES
// Math:    fp32 accumulation; online softmax, arXiv:1805.02867; paging,
//          arXiv:2309.06180; splitting the history, arXiv:2311.01282
//
// decode.cuh says how work is divided, here among warps: for rows of which most
// are done by one or few. A warp has the next row and head on its way before it
// writes or merges the one at hand. Few rows are paged_decode_blocks'.
//
// Shorter runs, taken as warps come free, were slower on an H200: 287 µs for
// 279 with 256 rows of 100 to 2,048, 90 for 72 with 8 of 8,192.
//
// What earlier kernels than the one just ahead have written is read before
// waiting for it: the plan, the page table, and all tiles but those of the
// step's own positions: a row's newest and, with drafts, those of the rows before it.
//
// Launch:  blocks of WARPS warps, as many as fit on the
//          device; worker w is warp w / grid of block w % grid, so that few tiles
//          spread over all blocks
// Limit:   4·D·Hkv·Σ min(lens, window) bytes of memory traffic, of codes (2·D+8)·Hkv·Σ
// Checked: TestPagedDecode against ref.Windowed

struct PlanArgs {
  const int* lens;
  const int* slots;
  int* first;
  Run* runs;
  int rows, workers, window;
  int shortest; // run, in tiles: shorter ones cost more in merging than they win
  int whole;    // tiles up to which rows are not parted; 0: runs go on from row to row, head to head
};

#define PARTED 512 // rows at most of which runs begin anew with each row and head

// part_length is the shortest length, a multiple of a block's warps, of runs of which a
// row and head has its own, all within so many workers. It is of one warp.
__device__ __forceinline__ int part_length(const int* tiles, int rows, int longest, int workers) {
  int low = 1, high = (longest + WARPS - 1) / WARPS; // in rounds of a block
  while (low < high) {
    int mid = (low + high) / 2, runs = 0;
    for (int r = threadIdx.x % WARP; r < rows; r += WARP) runs += (tiles[r] + mid * WARPS - 1) / (mid * WARPS) * KV_HEADS;
    if (__reduce_add_sync(FULL, runs) <= workers) high = mid; else low = mid + 1;
  }
  return high * WARPS;
}

// decode_plan: one block of 1024.
extern "C" __global__ void __launch_bounds__(1024) decode_plan(const __grid_constant__ PlanArgs a) {
  __shared__ int sums[WARP], longest[WARP], tiles_in[PARTED], length_of_parts;
  wait_for_previous();
  let_next_start();
  int most = 0; // tiles of the longest row
  // scan writes where rows begin in the line, each head's tiles rounded up, and
  // returns how long that is.
  auto scan = [&](int round) {
    int before = 0;
    for (int base = 0; base < a.rows; base += blockDim.x) {
      int r = base + threadIdx.x, tiles = r < a.rows ? tiles_of(a.lens[r], a.window) : 0;
      int n = (tiles + round - 1) / round * round * KV_HEADS, sum = n;
      if (r < min(a.rows, PARTED)) tiles_in[r] = tiles;
      most = max(most, __reduce_max_sync(FULL, tiles));
#pragma unroll
      for (int d = 1; d < WARP; d *= 2) {
        int other = __shfl_up_sync(FULL, sum, d);
        if ((int)(threadIdx.x % WARP) >= d) sum += other;
      }
      if (threadIdx.x % WARP == WARP - 1) sums[threadIdx.x / WARP] = sum, longest[threadIdx.x / WARP] = most;
      __syncthreads();
      int offset = before, all = 0;
#pragma unroll
      for (int w = 0; w < WARP; w++) {
        if (w < (int)(threadIdx.x / WARP)) offset += sums[w];
        all += sums[w];
        most = max(most, longest[w]);
      }
      if (r < a.rows) a.first[r] = offset + sum - n;
      before += all;
      __syncthreads();
    }
    return before;
  };
  int all = scan(1), length = max(a.shortest, (all + a.workers - 1) / a.workers);
  bool parted = a.whole > 0 && a.rows <= PARTED && a.rows * KV_HEADS <= a.workers;
  if (parted) {
    if (threadIdx.x < WARP) {
      int n = most <= a.whole ? max(most, 1) : max(part_length(tiles_in, a.rows, most, a.workers), a.shortest);
      if (threadIdx.x == 0) length_of_parts = n;
    }
    __syncthreads();
    // Where rows of several lengths leave workers idle, the line is better.
    parted = length_of_parts * 8 <= length * 9 || length_of_parts <= max(a.shortest, a.whole);
    if (parted) length = length_of_parts, all = scan(length);
  }
  for (int w = threadIdx.x; w < a.workers; w += blockDim.x) {
    int at = w * length;
    if (at >= all) {
      a.runs[w].begin = a.runs[w].end = 0;
      continue;
    }
    int lo = 0, hi = a.rows - 1; // the last row that begins at or before at
    while (lo < hi) {
      int mid = (lo + hi + 1) / 2;
      if (a.first[mid] <= at) lo = mid; else hi = mid - 1;
    }
    int len = a.lens[lo], tiles = tiles_of(len, a.window), in = at - a.first[lo];
    int head_tiles = parted ? (tiles + length - 1) / length * length : tiles, tile = in % head_tiles;
    int end = parted ? at + min(length, tiles - tile) : min(all, at + length);
    a.runs[w] = Run{lo, in / head_tiles, first_tile(len, a.window) + tile, len, a.slots[lo], at, end, parted ? -length : length};
  }
}

// merge writes the result of N query heads from h0 on of a row and key head, whose
// partial results workers w0 to w1 have; of w0 it is the second if second is 1.
template <int N>
__device__ __forceinline__ void merge(const DecodeArgs& a, const Run& at, int second, int w0, int w1, int h0) {
  using P = Partial<N, 1>;
  P p;
  p.add_up(a, second, w0, w1, 0, h0);
  if (!P::mine()) return;
#pragma unroll
  for (int h = 0; h < N; h++) {
    if (a.sinks) p.all[h] += exp2_fast(from_bf16(a.sinks[at.head * GROUP + h0 + h]) * LOG2E - p.best[h]);
    bf16* out = a.out + ((size_t)at.row * HEADS + at.head * GROUP + h0 + h) * HEAD_DIM + threadIdx.x % WARP * P::PER;
#pragma unroll
    for (int j = 0; j < P::PER; j += 2) *(u32*)(out + j) = pack(p.acc[h][j] / p.all[h], p.acc[h][j + 1] / p.all[h]);
  }
}

extern "C" __global__ void __launch_bounds__(WARPS * WARP, BLOCKS) paged_decode(const __grid_constant__ DecodeArgs a) {
  extern __shared__ __align__(128) u8 memory[];
  int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
  int worker = warp * gridDim.x + blockIdx.x;
  u32 shared = shared_address(memory) + warp * STAGES * STAGE;

  Run at = a.runs[worker];
  bool waiting = true;
  auto wait = [&] {
    if (waiting) wait_for_previous(), let_next_start();
    waiting = false;
  };

  // The row and head at hand: its tiles in this run, and the page of the next one.
  int position = at.begin, take, end, page; // end: behind the last of the tiles
  const int* pages;
  auto start = [&] {
    int tiles = (at.len + TILE - 1) / TILE; // before the row's end, seen or not
    take = min(tiles - at.tile, at.end - position);
    end = at.tile + take;
    pages = a.table + (size_t)at.slot * a.table_stride;
    page = page_of(pages, at.tile, end, at.len);
#pragma unroll
    for (int s = 0; s < STAGES - 1; s++) {
      int tile = at.tile + s, next = page_of(pages, tile + 1, end, at.len);
      if (has_new(tile, at.len)) wait();
      if (tile < end) load_tile(shared + s * STAGE, a, at.head, tile, at.len, page);
      copies_commit();
      page = next;
    }
  };

  bool more = at.begin < at.end;
  if (more) start();
  while (more) {
    wait();
    Mixture m;
    m.begin(a, at);
    int stage = 0;
    for (int tile = at.tile; tile < end; tile++) {
      int ahead = tile + STAGES - 1, into = stage == 0 ? STAGES - 1 : stage - 1;
      copies_wait<STAGES - 2>();
      __syncwarp(); // this tile is here, and the stage before it has been read
      int next = page_of(pages, ahead + 1, end, at.len);
      if (ahead < end) load_tile(shared + into * STAGE, a, at.head, ahead, at.len, page);
      copies_commit();
      page = next;

      m.see(a, shared + stage * STAGE, tile, at.len);
      stage = stage == STAGES - 1 ? 0 : stage + 1;
    }

    // What comes next is on its way before this is written.
    Run done = at;
    int place = 2 * worker + (position == at.begin ? 0 : 1), all_tiles = tiles_of(at.len, a.window);
    bool whole = take == all_tiles;
    position += take;
    more = position < at.end;
    if (more && ++at.head == KV_HEADS) {
      at.head = 0;
      do at.len = a.lens[++at.row]; while (at.len == 0); // padding
      at.slot = a.slots[at.row];
    }
    at.tile = first_tile(at.len, a.window);
    __syncwarp(); // shared memory has been read
    if (more) start();

    m.settle();
    if (whole) {
      m.finish(a, done);
    } else {
      m.leave(a.partial + (size_t)place * GROUP * HEAD_DIM, HEAD_DIM, (float2*)a.stats + (size_t)place * GROUP);
      // The runs that this row and head lies in, and whether this is the last to be done.
      int from = a.first[done.row] + done.head * all_tiles, w0 = from / done.length, w1 = (from + all_tiles - 1) / done.length;
      u32* counter = a.arrived + done.row * KV_HEADS + done.head;
      u32 n = 0;
      __syncwarp();
      if (lane == 0) n = arrive(counter);
      n = __shfl_sync(FULL, n, 0);
      if (n == (u32)(w1 - w0)) {
        if (lane == 0) *counter = 0;
#pragma unroll 1
        for (int h = 0; h < GROUP; h += TOGETHER) merge<TOGETHER>(a, done, from != w0 * done.length, w0, w1, h);
      }
    }
  }
  copies_wait<0>();
  wait(); // also a warp without work: the kernel must not end before those ahead
}
