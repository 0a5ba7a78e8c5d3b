// begin: brings a step's data to where every kernel, captured in a graph or
// not, looks for it: slots and pages that change, then tokens, rows, draws.
//   inits      SlotInit [N]    parameters of slots that change hands; last becomes NO_TOKEN
//   pages      PageEntry [N]   no two name the same place
//   tokens     i32 [T]         −1: the token that the slot drew last
//   positions, slots i32 [T]   of each token; slot < 0: padding
//   row_slots, row_lens i32 [R]  decode rows: slot, length with the new token; 0: padding
//   draws      Draw [N], draw_tokens i32 [N]   tokens whose logits are computed
//   tiles      Tile [N], spans Span [N]   of prompts; counts i32 [2]: how many
// A token is never one of a slot initialised in the same step by −1, so the
// parts need no order among themselves.
// Launch:  grid-stride
// Checked: TestReferences in package cuda
#define NO_TOKEN (-1)

struct alignas(8) Init { u64 words[9]; int slot, unused; }; // a Slot of sample.cu, and whose
struct Entry { int slot, index, page; };
struct alignas(8) Draw { u64 allow; int row, slot, position; short ahead, drafts; };

struct Tile { int slot, token, position, tokens, pair, split, part; };
struct Span { int first, count, slot, start; };

struct BeginArgs {
  const Init* inits;
  const Entry* pages;
  const int* tokens;
  const int* positions;
  const int* slots;
  const int* row_slots;
  const int* row_lens;
  const Draw* draws;
  const int* draw_tokens;
  const Tile* tiles;
  const Span* spans;
  u64* to_params; // Slot [·]
  int* last;
  int* table;
  int* to_tokens;
  int* to_positions;
  int* to_slots;
  int* to_row_slots;
  int* to_row_lens;
  Draw* to_draws;
  int* to_draw_tokens;
  Tile* to_tiles;
  Span* to_spans;
  int* to_counts;
  u64* to_result;
  u64 result;
  int n_inits, n_pages, n_tokens, n_rows, n_draws, n_tiles, n_spans;
  int table_stride;
};

extern "C" __global__ void __launch_bounds__(256) begin(const __grid_constant__ BeginArgs a) {
  wait_for_previous();
  let_next_start();
  int stride = gridDim.x * blockDim.x, first = blockIdx.x * blockDim.x + threadIdx.x;
  if (first == 0) *a.to_result = a.result, a.to_counts[0] = a.n_tiles, a.to_counts[1] = a.n_spans;
  for (int i = first; i < a.n_inits; i += stride) {
    int slot = a.inits[i].slot;
    for (int j = 0; j < 9; j++) a.to_params[(size_t)slot * 9 + j] = a.inits[i].words[j];
    a.last[slot] = NO_TOKEN;
  }
  for (int i = first; i < a.n_pages; i += stride) {
    Entry e = a.pages[i];
    a.table[(size_t)e.slot * a.table_stride + e.index] = e.page;
  }
  for (int i = first; i < a.n_tokens; i += stride) {
    int slot = a.slots[i], token = a.tokens[i];
    // A slot that could draw nothing goes on with any token.
    a.to_tokens[i] = token >= 0 ? token : slot >= 0 ? max(a.last[slot], 0) : 0;
    a.to_positions[i] = a.positions[i];
    a.to_slots[i] = slot;
  }
  for (int i = first; i < a.n_rows; i += stride) {
    a.to_row_slots[i] = a.row_slots[i];
    a.to_row_lens[i] = a.row_lens[i];
  }
  for (int i = first; i < a.n_draws; i += stride) {
    a.to_draws[i] = a.draws[i];
    a.to_draw_tokens[i] = a.draw_tokens[i];
  }
  for (int i = first; i < a.n_tiles; i += stride) a.to_tiles[i] = a.tiles[i];
  for (int i = first; i < a.n_spans; i += stride) a.to_spans[i] = a.spans[i];
}
