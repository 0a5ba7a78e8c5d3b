package kernel

import (
	"embed"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unsafe"
)

//go:embed *.cu *.cuh
var sources embed.FS

// Ptr is an address in device memory, or in host memory that the device sees.
type Ptr uint64

// Plus is the address n bytes on.
func (p Ptr) Plus(n int64) Ptr { return p + Ptr(n) }

// Shape is what kernels are compiled for.
type Shape struct {
	Heads, KVHeads int
	HeadDim        int // one of HeadDims
	PageSize       int
	// Stages of copies that attention keeps under way: 3 where a block may
	// have 104.5 KiB of shared memory (heads of 128), 2 with 70 KiB.
	Stages int
	// Hopper is how many multiprocessors a device of compute capability 9.0
	// has, 0 on others: kernels of its own are compiled for it, those of attention
	// for heads of 64 and 128.
	Hopper int
	// Experts asks for the kernels of mixtures, too: they take as long to compile
	// as all the others.
	Experts bool
	// ExpertsFP8 and ExpertsMXFP4 ask for those of experts in codes, too.
	ExpertsFP8, ExpertsMXFP4 bool
	// Latent asks for the kernel of latent attention, too.
	Latent bool
	// Int4 asks for the kernels of weights of 4 bits, too.
	Int4 bool
	// Invariant has what attention makes of a row depend on no other row.
	Invariant bool
	// KVCodes says that keys and values are codes of FP8 with scales.
	KVCodes bool
}

// HeadDims are the sizes of heads that there are kernels for.
var HeadDims = []int{32, 64, 96, 128, 192, 256}

// HopperAttention says whether prefill attention is that for compute capability
// 9.0.
func (s Shape) HopperAttention() bool { return s.Hopper > 0 && (s.HeadDim == 64 || s.HeadDim == 128) }

// wide says that heads take so many registers and so much shared memory that
// attention takes fewer keys at once.
func (s Shape) wide() bool { return s.HeadDim > 128 }

// StageBytes is the shared memory that one of Stages takes at most, in decode attention
// or in prefill attention.
func (s Shape) StageBytes() int {
	return max(s.decodeWarps()*s.decodeStage(), 2*s.prefillKeys()*(2*s.HeadDim+16))
}

// MaxGroup is how many query heads may share a key head.
const MaxGroup = 16

// Check says whether the kernels can be compiled for the shape.
func (s Shape) Check() error {
	switch {
	case !slices.Contains(HeadDims, s.HeadDim):
		return fmt.Errorf("heads of %d; there are kernels for %v", s.HeadDim, HeadDims)
	case s.Heads <= 0 || s.KVHeads <= 0 || s.Heads%s.KVHeads != 0 || s.Heads/s.KVHeads > MaxGroup:
		return fmt.Errorf("%d query heads for %d key heads; there must be 1 to %d for each", s.Heads, s.KVHeads, MaxGroup)
	case s.PageSize <= 0:
		return fmt.Errorf("pages of %d tokens", s.PageSize)
	case s.Stages < 2 || s.Stages > 8:
		return fmt.Errorf("%d stages; there may be 2 to 8", s.Stages)
	}
	return nil
}

// Kernel is one entry point.
type Kernel struct {
	Name   string // in the source
	Source string // the file
	// Shared is the dynamic shared memory of a block in bytes, which follows
	// from the shape; nil: none.
	Shared func(Shape) int
	args   reflect.Type
	symbol string // the parameter's type in the source
}

func newKernel[Args any](source, name string, shared func(Shape) int) *Kernel {
	t := reflect.TypeFor[Args]()
	k := &Kernel{Name: name, Source: source, Shared: shared, args: t, symbol: t.Name()}
	all = append(all, k)
	return k
}

var all []*Kernel

// All lists the kernels.
func All() []*Kernel { return all }

// Program is a source to compile.
type Program struct {
	Name    string
	Text    string
	Defines []string // what of the shape and of constants here it depends on, for the compiler: "HEADS=16"
}

// Programs are the sources of the kernels for a shape.
func Programs(s Shape) ([]Program, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	common, err := sources.ReadFile("common.cuh")
	if err != nil {
		return nil, err
	}
	files, err := sources.ReadDir(".")
	if err != nil {
		return nil, err
	}
	var list []Program
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".cu") || !s.takes(f.Name()) {
			continue
		}
		text, err := sources.ReadFile(f.Name())
		if err != nil {
			return nil, err
		}
		before := fmt.Sprintf("#line 1 \"common.cuh\"\n%s\n", common)
		for _, name := range headers[f.Name()] {
			text, err := sources.ReadFile(name)
			if err != nil {
				return nil, err
			}
			before += fmt.Sprintf("#line 1 \"%s\"\n%s\n", name, text)
		}
		p := Program{Name: f.Name(), Text: fmt.Sprintf("%s#line 1 \"%s\"\n%s\n%s", before, f.Name(), text, layouts(f.Name()))}
		for _, d := range []struct {
			name  string
			value int
		}{
			{"HEADS", s.Heads},
			{"KV_HEADS", s.KVHeads},
			{"HEAD_DIM", s.HeadDim},
			{"PAGE_SIZE", s.PageSize},
			{"STAGES", s.Stages},
			{"KV_CODES", flag(s.KVCodes)},
			{"DECODE_WARPS", s.decodeWarps()},
			{"SPLIT_KEYS", flag(s.splits()) * SplitKeys},
			{"CODES_WIDE", flag(s.Hopper > 0)},
			{"SAMPLE_PARTS", sampleParts},
			{"NEWEST_TOKENS", NewestTokens},
			{"SURVEY_VECTORS", surveyVectors},
			{"SURVEY_THREADS", surveyThreads},
			{"MAX_TOP", MaxTop},
			{"MAX_VOCAB", MaxVocab},
			{"DELTA_MEMORY", deltaMemory},
			{"STATE_PARTS", stateParts},
			{"CONV_RUN", convRun},
			{"MAX_RANKS", MaxRanks},
			{"MEETING_BLOCKS", MeetingBlocks},
			{"MANY_SHARED", manyShared},
			{"PASS_WARPS", passWarps},
			{"PASS_SPLITS", passSplits},
		} {
			if strings.Contains(p.Text, d.name) {
				p.Defines = append(p.Defines, fmt.Sprintf("%s=%d", d.name, d.value))
			}
		}
		list = append(list, p)
	}
	return list, nil
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}

// takes says whether a source has kernels that the shape asks for.
func (s Shape) takes(source string) bool {
	switch {
	case source == "prefill_hopper.cu":
		return s.HopperAttention()
	case source == "pass_hopper.cu":
		return s.passes()
	case strings.HasSuffix(source, "_hopper.cu") && s.Hopper == 0:
		return false
	case strings.HasPrefix(source, "moe_fp8"):
		return s.ExpertsFP8
	case strings.HasPrefix(source, "moe_mxfp4"):
		return s.ExpertsMXFP4
	case strings.HasPrefix(source, "moe_"):
		return s.Experts
	case source == "latent.cu":
		return s.Latent
	case strings.HasPrefix(source, "int4"):
		return s.Int4
	}
	return true
}

// headers are what sources have in common with some others.
var headers = map[string][]string{
	"sample.cu": {"draw.cuh"}, "logprobs.cu": {"draw.cuh"},
	"prefill.cu": {"prefill.cuh"}, "prefill_hopper.cu": {"prefill.cuh", "hopper.cuh"},
	"decode.cu": {"fp8.cuh", "decode.cuh"}, "decode_blocks.cu": {"fp8.cuh", "decode.cuh"}, "rope.cu": {"fp8.cuh"}, "store.cu": {"rows.cuh", "fp8.cuh"},
	"codes.cu": {"rows.cuh", "fp8.cuh"}, "skinny.cu": {"skinny.cuh"}, "skinny_codes.cu": {"skinny.cuh", "fp8.cuh"}, "fill.cu": {"fp8.cuh"},
	"reduce.cu": {"ranks.cuh"}, "push.cu": {"ranks.cuh"}, "copied.cu": {"ranks.cuh"},
	"rows.cu": {"rows.cuh", "moe.cuh"}, "norm.cu": {"rows.cuh"}, "silu.cu": {"rows.cuh"}, "heads.cu": {"rows.cuh"}, "conv.cu": {"rows.cuh"}, "delta.cu": {"rows.cuh", "delta.cuh"}, "delta_spans.cu": {"rows.cuh", "delta.cuh"},
	"moe_route.cu": {"moe.cuh"}, "moe_tiles.cu": {"moe.cuh", "moe_codes.cuh", "moe_tiles.cuh"}, "moe_fp8.cu": {"moe.cuh", "moe_codes.cuh", "moe_tiles.cuh"}, "moe_mxfp4.cu": {"moe.cuh", "moe_codes.cuh", "moe_tiles.cuh"}, "moe_hopper.cu": {"moe.cuh", "hopper.cuh"},
	"moe_fp8_hopper.cu":   {"moe.cuh", "hopper.cuh", "moe_codes.cuh", "moe_hopper_codes.cuh"},
	"moe_mxfp4_hopper.cu": {"moe.cuh", "hopper.cuh", "moe_codes.cuh", "moe_hopper_codes.cuh"},
	"int4.cu":             {"rows.cuh", "int4.cuh"}, "int4_hopper.cu": {"int4.cuh", "hopper.cuh", "int4_many.cuh"}, "int4_split_hopper.cu": {"int4.cuh", "hopper.cuh", "int4_many.cuh"},
	"int4_rows_hopper.cu":  {"int4.cuh", "hopper.cuh", "int4_rows.cuh"},
	"int4_bytes_hopper.cu": {"int4.cuh", "hopper.cuh", "tensor.cuh", "int4_bytes.cuh"},
	"product_hopper.cu":    {"hopper.cuh", "tensor.cuh"},
	"pass_hopper.cu":       {"hopper.cuh", "tensor.cuh", "words.cuh"},
}

// layouts are assertions, for the compiler, that a source's structs are laid
// out as their twins in Go.
func layouts(source string) string {
	var b strings.Builder
	done := map[reflect.Type]bool{}
	for _, k := range all {
		if k.Source == source {
			layout(&b, k.symbol, k.args, done)
		}
	}
	for _, t := range twins[source] {
		layout(&b, t.Name(), t, done)
	}
	return b.String()
}

// twins are structs that lie in memory.
var twins = map[string][]reflect.Type{
	"begin.cu":            {reflect.TypeFor[Init](), reflect.TypeFor[Entry](), reflect.TypeFor[Draw](), reflect.TypeFor[Tile](), reflect.TypeFor[Span]()},
	"sample.cu":           {reflect.TypeFor[Slot](), reflect.TypeFor[Bias](), reflect.TypeFor[Draw]()},
	"logprobs.cu":         {reflect.TypeFor[Slot](), reflect.TypeFor[Draw](), reflect.TypeFor[Target](), reflect.TypeFor[Alternative](), reflect.TypeFor[Score]()},
	"prefill.cu":          {reflect.TypeFor[Tile]()},
	"prefill_hopper.cu":   {reflect.TypeFor[Tile]()},
	"decode.cu":           {reflect.TypeFor[PlanArgs]()},
	"store.cu":            {reflect.TypeFor[Span]()},
	"rows.cu":             {reflect.TypeFor[View](), reflect.TypeFor[ExpertEntry]()},
	"norm.cu":             {reflect.TypeFor[View]()},
	"codes.cu":            {reflect.TypeFor[View](), reflect.TypeFor[Codes]()},
	"heads.cu":            {reflect.TypeFor[View]()},
	"conv.cu":             {reflect.TypeFor[View](), reflect.TypeFor[Span]()},
	"delta.cu":            {reflect.TypeFor[View](), reflect.TypeFor[Span]()},
	"delta_spans.cu":      {reflect.TypeFor[View](), reflect.TypeFor[Span]()},
	"states.cu":           {reflect.TypeFor[State](), reflect.TypeFor[Copy]()},
	"moe_route.cu":        {reflect.TypeFor[ExpertTile](), reflect.TypeFor[ExpertEntry]()},
	"moe_hopper.cu":       {reflect.TypeFor[ExpertTile](), reflect.TypeFor[ExpertEntry]()},
	"moe_fp8_hopper.cu":   {reflect.TypeFor[ExpertTile](), reflect.TypeFor[ExpertEntry]()},
	"moe_fp8.cu":          {reflect.TypeFor[ExpertTile](), reflect.TypeFor[ExpertEntry]()},
	"moe_mxfp4_hopper.cu": {reflect.TypeFor[ExpertTile](), reflect.TypeFor[ExpertEntry]()},
	"moe_mxfp4.cu":        {reflect.TypeFor[ExpertTile](), reflect.TypeFor[ExpertEntry]()},
	"moe_tiles.cu":        {reflect.TypeFor[ExpertTile](), reflect.TypeFor[ExpertEntry]()},
	"pass_hopper.cu":      {reflect.TypeFor[PassLayer]()},
}

func layout(b *strings.Builder, name string, t reflect.Type, done map[reflect.Type]bool) {
	if done[t] {
		return
	}
	done[t] = true
	fmt.Fprintf(b, "static_assert(sizeof(%s) == %d, \"size\");\n", name, t.Size())
	for f := range t.Fields() {
		fmt.Fprintf(b, "static_assert(__INTADDR__(&((%s*)0)->%s) == %d, \"offset\");\n", name, snake(f.Name), f.Offset)
	}
}

// snake is a Go field's name in the sources: KVHeads → kv_heads.
func snake(name string) string {
	var b strings.Builder
	for i, r := range name {
		upper := r >= 'A' && r <= 'Z'
		if upper && i > 0 {
			lowerBefore := name[i-1] >= 'a' && name[i-1] <= 'z'
			lowerAfter := i+1 < len(name) && name[i+1] >= 'a' && name[i+1] <= 'z'
			if lowerBefore || lowerAfter {
				b.WriteByte('_')
			}
		}
		b.WriteString(strings.ToLower(string(r)))
	}
	return b.String()
}

// Launch is a kernel with its arguments and how many threads run it.
type Launch struct {
	Kernel *Kernel
	Grid   [2]int
	Block  int
	Args   unsafe.Pointer // to a struct of Size bytes without Go pointers; copied
	Size   int
	// Cluster is how many blocks behind one another work together; 0: none do.
	Cluster int
	Shared  int // dynamic bytes, where they are not the kernel's most
	// Together says that blocks wait for each other: none begins before there is room for all.
	Together bool
}

// Queue runs launches in order.
type Queue interface {
	Launch(Launch) error
}

func launch[Args any](q Queue, k *Kernel, x, y, block int, args *Args) error {
	if x == 0 || y == 0 {
		return nil
	}
	if x < 0 || y < 0 || y > 65535 {
		return fmt.Errorf("kernel %s: a grid of %d × %d", k.Name, x, y)
	}
	return q.Launch(launchOf(k, x, y, block, args))
}

func launchOf[Args any](k *Kernel, x, y, block int, args *Args) Launch {
	return Launch{Kernel: k, Grid: [2]int{x, y}, Block: block, Args: unsafe.Pointer(args), Size: int(unsafe.Sizeof(*args))}
}

func ceil(n, d int) int { return (n + d - 1) / d }
