package sim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
)

// Hardware is a GPU as its maker describes it, dense, with 32-bit accumulation.
type Hardware struct {
	Name   string
	Full   string
	Memory int64   // bytes
	Read   float64 // bytes a second from memory
	FLOPs  float64 // a second, of bfloat16
	Codes  float64 // how many times as many of FP8 with scales, where such products are used
	Link   float64 // bytes a second to each other GPU, one way
	// Capability is the compute capability, by which weights are held (device.HeldOnGPU).
	Capability int
}

var hardware = []Hardware{
	{"h200", "NVIDIA H200 SXM", 141e9, 4.8e12, 989e12, 2, 450e9, 90},
	{"h100", "NVIDIA H100 SXM", 80e9, 3.35e12, 989e12, 2, 450e9, 90},
	{"a100", "NVIDIA A100 SXM 80GB", 80e9, 2.039e12, 312e12, 0, 300e9, 80},
	{"l40s", "NVIDIA L40S", 48e9, 0.864e12, 362e12, 0, 25e9, 89},
	{"4090", "NVIDIA GeForce RTX 4090", 24e9, 1.008e12, 165e12, 0, 25e9, 89},
}

// rates are what programs get of a GPU.
type rates struct {
	weights, kv         float64 // shares of Read: of weights and activations; of keys and values
	products, attention float64 // shares of FLOPs: of matrix products; of attention over prompts
	experts             float64 // share of FLOPs: of experts' products
	few4, many4         float64 // shares of Read: of weights of 4 bits, by the kernels for few rows and for many
	products4           float64 // share of FLOPs: of the latter
	kernel              float64 // s: a kernel's beginning and end, when it follows another
	decode              float64 // s: more, for decode attention, however little it reads
	launch              float64 // s: launching a kernel, outside of captured graphs
}

// measured are the rates of package cuda on an H200, fitted to
// testdata/h200.jsonl (see TestFit). Other GPUs are assumed to be alike.
var measured = rates{
	weights: 0.836, kv: 0.880, products: 0.658, attention: 0.671, experts: 0.48,
	few4: 0.86, many4: 0.24, products4: 0.49, // to testdata/h200-int4.jsonl
	kernel: 2.41e-6, decode: 6.6e-6, launch: 5.69e-6,
}

// Not fitted. An H200 says the first, and two the others: copies between them ran at
// 391 GB/s of 450, and with a kernel's beginning a sum of one row took 4.4 µs more than
// its bytes in a pass of Qwen3-14B, one of 256 rows 5.5 by itself.
const (
	graphLaunch = 6.2e-6 // s
	linkShare   = 0.87
	meeting     = 2e-6 // s, of GPUs that add something up or put something together
)

// options is what a device's name says: "sim:h200,tp=2,speed=10".
type options struct {
	hw    Hardware
	tp    int           // GPUs that share every layer
	speed float64       // times faster than real; infinite: no waiting
	step  time.Duration // no step takes less
	eos   int           // mean tokens until the end of sequence is drawn; 0: never
	// repeat is after how many tokens a text repeats itself, most of the time; 0: never
	repeat int
	fail   uint64 // Wait returns an error for this many-th step; 0: never
	lost   uint64 // the same, and no device is opened any more; 0: never
	hang   uint64 // Wait does not return from this many-th step; 0: never
}

// Names lists the GPUs there are.
func Names() []string {
	var names []string
	for _, h := range hardware {
		names = append(names, h.Name)
	}
	return names
}

func parse(name string) (options, error) {
	o := options{tp: 1, speed: 1}
	kind, rest, _ := strings.Cut(name, ":")
	parts := strings.Split(rest, ",")
	at := slices.IndexFunc(hardware, func(h Hardware) bool { return h.Name == parts[0] })
	if kind != "sim" || at < 0 {
		return o, fmt.Errorf(`sim: no device %q; there are "sim:" and one of %s, such as "sim:h200" or "sim:h200,tp=2,speed=10"`,
			name, strings.Join(Names(), ", "))
	}
	o.hw = hardware[at]
	for _, part := range parts[1:] {
		key, value, _ := strings.Cut(part, "=")
		var err error
		var want string
		switch key {
		case "tp":
			want = "a whole number from 1 to 64"
			o.tp, err = strconv.Atoi(value)
			if o.tp < 1 || o.tp > 64 {
				err = strconv.ErrRange
			}
		case "speed":
			want = "a positive number or inf"
			o.speed, err = strconv.ParseFloat(value, 64)
			if !(o.speed > 0) {
				err = strconv.ErrRange
			}
		case "step":
			want = "a duration such as 20ms"
			o.step, err = time.ParseDuration(value)
			if o.step < 0 {
				err = strconv.ErrRange
			}
		case "eos":
			want = "the mean number of tokens of an output"
			o.eos, err = strconv.Atoi(value)
			if o.eos < 1 {
				err = strconv.ErrRange
			}
		case "repeat":
			want = "the number of tokens after which a text repeats itself"
			o.repeat, err = strconv.Atoi(value)
			if o.repeat < 1 {
				err = strconv.ErrRange
			}
		case "fail":
			want = "the number of a step"
			o.fail, err = strconv.ParseUint(value, 10, 64)
		case "lost":
			want = "the number of a step"
			o.lost, err = strconv.ParseUint(value, 10, 64)
		case "hang":
			want = "the number of a step"
			o.hang, err = strconv.ParseUint(value, 10, 64)
		default:
			return o, fmt.Errorf("sim: device %q: unknown option %q; there are tp, speed, step, eos, repeat, fail, lost and hang", name, key)
		}
		if err != nil {
			return o, fmt.Errorf("sim: device %q: %s is %q; it must be %s", name, key, value, want)
		}
	}
	return o, nil
}

// size works out an Info the way a real device does, from the memory the GPU
// would have.
func (o *options) size(spec *device.Spec) (device.Info, error) {
	c := &spec.Model.Config
	info, err := device.GPU.Settle(spec)
	if err != nil {
		return info, err
	}
	info.Name, info.Hardware = spec.Device, "simulated "+o.hw.Full
	info.Scores = true
	switch info.DType = spec.DType; info.DType {
	case "", "auto":
		if info.DType = c.DType; slices.Contains(model.Quantized, info.DType) {
			info.DType = model.BFloat16
		}
	case model.Int4: // projections alone
		info.DType = model.BFloat16
	case model.Int8:
		return info, fmt.Errorf("weights of type %q; GPUs are simulated with bfloat16, float32 or int4, the processor (\"cpu\") takes int8 as well", spec.DType)
	}
	switch info.KVDType = info.DType; spec.KVDType {
	case "", "auto", info.DType:
	case model.Float8:
		info.KVDType = model.Float8
	default:
		return info, fmt.Errorf("keys and values of type %q beside weights of %q; they are simulated with the same, or %s", spec.KVDType, info.DType, model.Float8)
	}
	held, err := device.HeldOnGPU(spec.Model, spec.DType, spec.Quantization, o.hw.Capability)
	if err != nil {
		return info, fmt.Errorf("%s: %w", o.hw.Full, err)
	}
	if own := held.Own; own != nil {
		held = model.HeldAs(info.DType)
		held.Own, info.Held = own, &held
	}
	info.WeightBytes = spec.Model.WeightBytes(info.Weights())
	memory := device.Memory{All: o.hw.Memory, Taken: info.WeightBytes, Token: device.GPUToken(c, info.KVDType)}
	err = device.GPU.FitPages(&info, spec, memory)
	info.FreeBytes = memory.All - info.WeightBytes - info.KVBytes - info.StateBytes*int64(info.Slots+info.Snapshots)
	return info, err
}
