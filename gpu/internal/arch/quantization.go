package arch

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/troupe-llm/troupe/gpu/internal/jsonfile"
)

// Scheme is what quantization_config says of weights. Which modules are not
// converted it need not say: the files have their weights unpacked.
type Scheme struct {
	Method Method // "": weights are as they are
	Bits   int    // of GPTQ and PackQuantized: 4 or 8
	// Group is how many inputs share a scale; 0: all of them.
	Group int
	// Block is how many outputs and inputs share one, of FP8; 0: the shape of the
	// scales tells whether all do, or those of an output.
	Block     [2]int
	Symmetric bool // the zero points are the middle
	// Reordered says that inputs are of groups in an order of their own.
	Reordered bool
	// LessOne says that zero points are stored less one.
	LessOne bool
}

// Method is how numbers are packed.
type Method string

const (
	FP8           Method = "fp8"            // E4M3
	GPTQ          Method = "gptq"           // arXiv:2210.17323, in words along the inputs
	AWQ           Method = "awq"            // arXiv:2306.00978, in words along the outputs
	PackQuantized Method = "pack-quantized" // of compressed-tensors, in words along the inputs, output by output
	MXFP4         Method = "mxfp4"          // of gpt-oss
)

// quantJSON is quantization_config as all the tools write it.
type quantJSON struct {
	Method string `json:"quant_method"`

	Fmt        string `json:"fmt"` // fp8
	Block      []int  `json:"weight_block_size"`
	Activation string `json:"activation_scheme"`

	Bits             *int           `json:"bits"` // gptq, awq
	WBits            *int           `json:"w_bit"`
	GroupSize        *int           `json:"group_size"`
	QGroupSize       *int           `json:"q_group_size"`
	DescAct          bool           `json:"desc_act"`
	Sym              *bool          `json:"sym"`
	CheckpointFormat string         `json:"checkpoint_format"`
	Dynamic          map[string]any `json:"dynamic"` // by module
	Version          string         `json:"version"`

	Algo string `json:"quant_algo"` // modelopt

	Format    string                   `json:"format"` // compressed-tensors
	Groups    map[string]*groupJSON    `json:"config_groups"`
	Cache     any                      `json:"kv_cache_scheme"`
	Sparsity  *struct{ Format string } `json:"sparsity_config"`
	Transform map[string]any           `json:"transform_config"`
}

// groupJSON is how compressed-tensors quantises some modules.
type groupJSON struct {
	Format      string    `json:"format"`
	Weights     *argsJSON `json:"weights"`
	Activations *argsJSON `json:"input_activations"`
}

type argsJSON struct {
	Bits      int    `json:"num_bits"`
	Type      string `json:"type"`
	Strategy  string `json:"strategy"`
	Group     *int   `json:"group_size"`
	Block     []int  `json:"block_structure"`
	Symmetric *bool  `json:"symmetric"`
	Order     any    `json:"actorder"` // null, a name or true
}

// methods read what each tool writes.
var methods = map[string]func(*quantJSON, *schemeReader){
	"fp8": (*quantJSON).fp8, "gptq": (*quantJSON).gptq, "awq": (*quantJSON).awq,
	"compressed-tensors": (*quantJSON).compressed, "modelopt": (*quantJSON).modelopt, "mxfp4": (*quantJSON).mxfp4,
}

// schemeReader gathers a scheme, and what is wrong with it.
type schemeReader struct {
	Scheme
	model       string // its type
	activations bool   // it asks for activations in 8 bits, too
	faults      *jsonfile.Faults
}

func (r *schemeReader) unsupportedf(format string, args ...any) {
	r.faults.Unsupportedf("quantization_config: "+format, args...)
}

// scheme reads quantization_config. What a device leaves as it is becomes a note.
func (c *Config) scheme(f *family) {
	q := c.json.Quantization
	if q == nil {
		return
	}
	read := methods[q.Method]
	if read == nil {
		c.faults.Unsupportedf("quantization_config: %q weights are not supported, only %s", cmp.Or(q.Method, "unnamed"),
			strings.Join(slices.Sorted(maps.Keys(methods)), ", "))
		return
	}
	r := &schemeReader{model: f.modelType, faults: c.faults}
	read(q, r)
	c.Scheme = r.Scheme
	if r.activations {
		c.Notes = append(c.Notes, "quantization_config: activations are computed in more bits than it asks for, or on a GPU that multiplies FP8 quantised by token; scales of inputs are not used")
	}
	if q.Cache != nil {
		c.Notes = append(c.Notes, "quantization_config: keys and values are kept in more bits than kv_cache_scheme asks for, but with --kv-dtype fp8 on a GPU, by the scales of the checkpoint")
	}
}

func (q *quantJSON) fp8(r *schemeReader) {
	r.Method, r.activations = FP8, q.Activation != ""
	if q.Fmt != "" && q.Fmt != "e4m3" {
		r.unsupportedf("fmt %q is not supported, only \"e4m3\"", q.Fmt)
	}
	r.block("weight_block_size", q.Block)
}

// block reads outputs and inputs that share a scale; nothing means not blocks.
func (r *schemeReader) block(field string, b []int) {
	switch {
	case len(b) == 0:
	case len(b) != 2 || b[0] < 1 || b[1] < 1:
		r.faults.Addf("quantization_config: %s is %v, want two sizes", field, b)
	default:
		r.Block = [2]int(b)
	}
}

// modelopt is what NVIDIA's optimiser writes.
func (q *quantJSON) modelopt(r *schemeReader) {
	r.Method, r.activations = FP8, true
	if !slices.Contains([]string{"FP8", "FP8_PER_CHANNEL_PER_TOKEN"}, q.Algo) {
		r.unsupportedf("quant_algo %q is not supported, only \"FP8\" and \"FP8_PER_CHANNEL_PER_TOKEN\"", q.Algo)
	}
}

func (q *quantJSON) gptq(r *schemeReader) {
	r.Method, r.Symmetric, r.Reordered = GPTQ, or(q.Sym, true), q.DescAct
	r.bits("bits", firstOf(q.Bits, q.WBits), 4, 8)
	r.group(q.GroupSize)
	switch q.CheckpointFormat {
	case "", "gptq":
		r.LessOne = true
	case "gptq_v2":
	default:
		r.unsupportedf("checkpoint_format %q is not supported, only \"gptq\" and \"gptq_v2\"", q.CheckpointFormat)
	}
	for _, pattern := range slices.Sorted(maps.Keys(q.Dynamic)) {
		if !strings.HasPrefix(pattern, "-:") { // those are left as they are
			r.unsupportedf("dynamic: other settings for modules %q are not supported", pattern)
		}
	}
}

func (q *quantJSON) awq(r *schemeReader) {
	r.Method = AWQ
	r.bits("bits", firstOf(q.Bits, q.WBits), 4)
	r.group(firstOf(q.GroupSize, q.QGroupSize))
	if v := strings.ToLower(q.Version); v != "" && v != "gemm" {
		r.unsupportedf("version %q is not supported, only \"gemm\"", q.Version)
	}
}

// mxfp4 is supported where it was published.
func (q *quantJSON) mxfp4(r *schemeReader) {
	r.Method, r.Group = MXFP4, 32
	if r.model != gptOSS.modelType {
		r.unsupportedf("mxfp4 is not supported of %q, only of %q", r.model, gptOSS.modelType)
	}
}

// bits reads how many there are.
func (r *schemeReader) bits(field string, n *int, known ...int) {
	switch {
	case n == nil:
		r.faults.Addf("quantization_config: %s: missing", field)
	case !slices.Contains(known, *n):
		r.unsupportedf("%s: %d is not supported, only %s", field, *n, strings.ReplaceAll(strings.Trim(fmt.Sprint(known), "[]"), " ", " and "))
	default:
		r.Bits = *n
	}
}

// group reads how many inputs share a scale; -1: all.
func (r *schemeReader) group(n *int) {
	switch {
	case n == nil:
		r.faults.Addf("quantization_config: group_size: missing")
	case *n < 1 && *n != -1:
		r.faults.Addf("quantization_config: group_size: %d, want at least 1, or -1 for all inputs", *n)
	default:
		r.Group = max(*n, 0)
	}
}

// compressed is compressed-tensors: groups of modules, here all alike.
func (q *quantJSON) compressed(r *schemeReader) {
	if q.Sparsity != nil && q.Sparsity.Format != "" && q.Sparsity.Format != "dense" {
		r.unsupportedf("sparsity_config: format %q is not supported", q.Sparsity.Format)
	}
	if len(q.Transform) > 0 {
		r.unsupportedf("transform_config is not supported")
	}
	if len(q.Groups) == 0 {
		r.faults.Addf("quantization_config: config_groups: missing")
	}
	for i, name := range slices.Sorted(maps.Keys(q.Groups)) {
		one := &schemeReader{faults: r.faults}
		if g := q.Groups[name]; g == nil || g.Weights == nil {
			r.unsupportedf("config_groups: %s without weights is not supported", name)
		} else {
			g.read(cmp.Or(g.Format, q.Format), one)
		}
		if i > 0 && one.Scheme != r.Scheme {
			r.unsupportedf("config_groups: %s differs from the others, which is not supported", name)
		}
		r.Scheme, r.activations = one.Scheme, r.activations || one.activations
	}
}

func (g *groupJSON) read(format string, r *schemeReader) {
	w := g.Weights
	r.activations = g.Activations != nil
	r.Symmetric, r.Reordered = or(w.Symmetric, true), w.Order == "group" || w.Order == true
	switch {
	case w.Type == "float" && slices.Contains([]string{"float-quantized", "naive-quantized"}, format):
		r.Method = FP8
		r.bits("num_bits", &w.Bits, 8)
		if !r.Symmetric {
			r.unsupportedf("zero points of FP8 are not supported")
		}
	case w.Type == "int" && format == string(PackQuantized):
		r.Method = PackQuantized
		r.bits("num_bits", &w.Bits, 4, 8)
	default:
		r.unsupportedf("format %q of type %q is not supported, only \"float-quantized\" and \"naive-quantized\" of \"float\", \"pack-quantized\" of \"int\"", format, w.Type)
		return
	}
	switch w.Strategy {
	case "block":
		r.block("block_structure", w.Block)
		r.strategy(r.Method == FP8 && r.Block[0] > 0, w)
	case "tensor":
		r.strategy(r.Method == FP8, w)
	case "group":
		r.group(w.Group)
		r.strategy(r.Method == PackQuantized, w)
	default:
		r.strategy(w.Strategy == "channel", w)
	}
}

func (r *schemeReader) strategy(known bool, w *argsJSON) {
	if !known {
		r.unsupportedf("strategy %q of %s is not supported", w.Strategy, r.Method)
	}
}
