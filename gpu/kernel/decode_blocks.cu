// paged_decode_blocks: paged_decode (decode.cu: the same arguments and result) for
// few rows, whose histories many workers share: here these are blocks, whose warps
// take a run's tiles in turns and add up in shared memory what they have of a row
// and head. So few partial results are left, and a whole block merges them:
// of 32,000 positions of one row 33 a head, each warp every fourth, for 125 that one
// warp of paged_decode would.
//
// Where there are as many blocks as rows and heads, runs begin anew with each, so that a
// block has one, and short rows are not parted.
//
// What a warp has it leaves where the last stage of its copies was, since of what
// comes next only the others are on their way by then.
//
// Launch:  blocks of WARPS warps, as many as fit on the
//          device
// Limit:   paged_decode's
// Checked: TestPagedDecode against ref.Windowed
#define LEFT_PITCH (HEAD_DIM + 4) // floats of a head: no bank conflicts
#define SUMS (GROUP * LEFT_PITCH * 4) // bytes
#define LEFT_AT ((STAGES - 1) * STAGE)
#define RING (LEFT_AT + (SUMS > STAGE ? SUMS : STAGE)) // of a warp; decodeRing in decode.go makes room for it

// add_up writes what the warps of a block have of a row and head: the result if that
// is the whole, else a partial one to a place.
__device__ __forceinline__ void add_up(const DecodeArgs& a, const Run& of, const u8* memory, const float2 (*stats)[GROUP], bool whole, int place) {
  for (int i = threadIdx.x * 4; i < GROUP * HEAD_DIM; i += WARPS * WARP * 4) {
    int h = i / HEAD_DIM;
    float top = NEGATIVE_INFINITY, sum = 0.f, v[4] = {};
#pragma unroll
    for (int w = 0; w < WARPS; w++) top = fmaxf(top, stats[w][h].x);
#pragma unroll
    for (int w = 0; w < WARPS; w++) {
      float4 x = *(const float4*)(memory + w * RING + LEFT_AT + (h * LEFT_PITCH + i % HEAD_DIM) * 4);
      float weight = exp2_fast(stats[w][h].x - top);
      sum += stats[w][h].y * weight;
      v[0] += x.x * weight, v[1] += x.y * weight, v[2] += x.z * weight, v[3] += x.w * weight;
    }
    if (whole) {
      if (a.sinks) sum += exp2_fast(from_bf16(a.sinks[of.head * GROUP + h]) * LOG2E - top);
      float scale = 1.f / sum;
      bf16* out = a.out + ((size_t)of.row * HEADS + of.head * GROUP) * HEAD_DIM + i;
      *(uint2*)out = make_uint2(pack(v[0] * scale, v[1] * scale), pack(v[2] * scale, v[3] * scale));
    } else {
      *(float4*)(a.partial + (size_t)place * GROUP * HEAD_DIM + i) = make_float4(v[0], v[1], v[2], v[3]);
      if (i % HEAD_DIM == 0) *(float2*)(a.stats + ((size_t)place * GROUP + h) * 2) = make_float2(top, sum);
    }
  }
}

extern "C" __global__ void __launch_bounds__(WARPS * WARP, BLOCKS) paged_decode_blocks(const __grid_constant__ DecodeArgs a) {
  extern __shared__ __align__(128) u8 memory[];
  __shared__ float2 stats[WARPS][GROUP]; // of what the warps have: maximum, denominator
  __shared__ u32 earlier;
  int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
  u32 shared = shared_address(memory) + warp * RING;
  float* left = (float*)(memory + warp * RING + LEFT_AT);

  let_next_start(); // whose room blocks without work leave at once
  Run at = a.runs[blockIdx.x];
  bool waiting = true;
  auto wait = [&] {
    if (waiting) wait_for_previous();
    waiting = false;
  };

  // The row and head at hand: its tiles in the block's run, and the page of the warp's
  // next one.
  int position = at.begin, take, end, page; // end: behind the last tile of the run
  const int* pages;
  auto start = [&] {
    int tiles = (at.len + TILE - 1) / TILE; // before the row's end, seen or not
    take = min(tiles - at.tile, at.end - position);
    end = at.tile + take;
    pages = a.table + (size_t)at.slot * a.table_stride;
    page = page_of(pages, at.tile + warp, end, at.len);
#pragma unroll
    for (int s = 0; s < STAGES - 1; s++) {
      int tile = at.tile + warp + s * WARPS, next = page_of(pages, tile + WARPS, end, at.len);
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
    for (int tile = at.tile + warp; tile < end; tile += WARPS) {
      int ahead = tile + (STAGES - 1) * WARPS, into = stage == 0 ? STAGES - 1 : stage - 1;
      copies_wait<STAGES - 2>();
      __syncwarp(); // this tile is here, and the stage before it has been read
      int next = page_of(pages, ahead + WARPS, end, at.len);
      if (ahead < end) load_tile(shared + into * STAGE, a, at.head, ahead, at.len, page);
      copies_commit();
      page = next;
      m.see(a, shared + stage * STAGE, tile, at.len);
      stage = stage == STAGES - 1 ? 0 : stage + 1;
    }

    // What comes next is on its way before this is written.
    Run done = at;
    int place = 2 * blockIdx.x + (position == at.begin ? 0 : 1), all_tiles = tiles_of(at.len, a.window);
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
    m.leave(left, LEFT_PITCH, stats[warp]);
    __syncthreads();
    add_up(a, done, memory, stats, whole, place);
    if (!whole) {
      // The runs that this row and head lies in, and whether this is the last to be done.
      int length = abs(done.length), head_tiles = done.length < 0 ? (all_tiles + length - 1) / length * length : all_tiles;
      int from = a.first[done.row] + done.head * head_tiles, w0 = from / length, w1 = (from + all_tiles - 1) / length;
      __syncthreads();
      if (threadIdx.x == 0) {
        u32* counter = a.arrived + done.row * KV_HEADS + done.head;
        earlier = arrive(counter);
        if (earlier == (u32)(w1 - w0)) *counter = 0;
      }
      __syncthreads();
      if (earlier == (u32)(w1 - w0)) {
        using P = Partial<TOGETHER, WARPS>;
#pragma unroll 1
        for (int h0 = 0; h0 < GROUP; h0 += TOGETHER) {
          P p;
          p.add_up(a, from != w0 * length, w0, w1, warp, h0);
#pragma unroll
          for (int h = 0; h < TOGETHER; h++) {
            if (lane == 0) stats[warp][h0 + h] = make_float2(p.best[h], p.all[h]);
            if (!P::mine()) continue;
#pragma unroll
            for (int j = 0; j < P::PER; j += 2) *(float2*)(left + (h0 + h) * LEFT_PITCH + lane * P::PER + j) = make_float2(p.acc[h][j], p.acc[h][j + 1]);
          }
        }
        __syncthreads();
        add_up(a, done, memory, stats, true, 0);
      }
    }
    __syncthreads(); // what was left has been read
  }
  copies_wait<0>();
  if (blockIdx.x == 0) wait(); // also without work: the kernel must not end before those ahead
}
