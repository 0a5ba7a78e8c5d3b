package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/troupe-llm/troupe/gpu/cpu"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/program"
	"github.com/troupe-llm/troupe/tokenize"
)

// Shown is what show tells of a model.
type Shown struct {
	Name         string `json:"name"`
	Dir          string `json:"directory,omitempty"`
	Family       string `json:"family"`
	Layers       int    `json:"layers"`
	Hidden       int    `json:"hidden"`
	Heads        int    `json:"heads"`
	KVHeads      int    `json:"kv_heads"`
	Vocab        int    `json:"vocab"`
	Params       int64  `json:"parameters"`
	ActiveParams int64  `json:"active_parameters"` // that a token meets
	DType        string `json:"dtype"`             // as published
	Stored       string `json:"stored,omitempty"`  // which parts are in which encoding
	Context      int    `json:"context"`           // tokens
	Tokenizer    bool   `json:"tokenizer"`
	ChatTemplate bool   `json:"chat_template"`

	Places []Room `json:"memory"`
}

// Room is a device's memory and what of the model it holds.
type Room struct {
	Device  string `json:"device"`
	Bytes   int64  `json:"usable_bytes"` // that would be used; 0: not known
	DType   string `json:"dtype"`
	Weights int64  `json:"weight_bytes"`
	Token   int64  `json:"kv_bytes_per_token"`
	Tokens  int    `json:"context_tokens"` // of one request, that fit beside the weights; 0: none
	Fits    bool   `json:"fits"`
	Advice  string `json:"advice,omitempty"`
}

func newShow() *cobra.Command {
	var options struct {
		JSON bool `flag:"json" help:"print JSON"`
	}
	cmd := &cobra.Command{
		Use:   "show [flags] MODEL",
		Short: "Say what a model is, and whether it fits on this machine",
		Long: `Show tells a model's family, parameters and formats, the memory it needs here and, where
that is not there, what to change. Of a model that is not here yet the small files alone
are pulled.`,
		Example: `  troupe show Qwen/Qwen3-0.6B
  troupe show ~/models/Qwen3-0.6B
  troupe show qwen3-14b`,
		Args: modelArg,
		ValidArgsFunction: func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
			return completeModel(cmd, nil, "")
		},
	}
	found := bind(cmd, section{"Output", &options})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := found.err(); err != nil {
			return err
		}
		s, err := showModel(cmd, args[0])
		if err != nil {
			return err
		}
		if options.JSON {
			return printJSON(cmd.OutOrStdout(), s)
		}
		return s.print(cmd.OutOrStdout())
	}
	return cmd
}

func showModel(cmd *cobra.Command, spec string) (*Shown, error) {
	log := Log{Level: "warn", Format: "auto"}
	dir, err := findModel(cmd, spec, noWeights, log.newLogger(cmd.ErrOrStderr()))
	if err != nil {
		return nil, err
	}
	m, err := openHere(dir)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	c := &m.Config
	s := &Shown{
		Name: m.Name, Family: c.Architecture, Vocab: c.Vocab,
		Params: c.Program.Params(), ActiveParams: c.Program.ActiveParams(), DType: string(c.DType), Context: c.MaxPositions,
		Stored: storedText(m),
	}
	s.measure(c.Program)
	if dir != m.Name {
		s.Dir = dir
	}
	if m.Files != nil {
		t, err := tokenize.Load(m.Files)
		if err != nil {
			return nil, err
		}
		s.Tokenizer, s.ChatTemplate = true, t.HasChatTemplate()
	}
	for i, g := range gpus() {
		usable := min(int64(device.GPU.MemoryRatio*float64(g.bytes)), g.bytes-device.GPU.Reserve)
		s.Places = append(s.Places, roomOf(m, fmt.Sprintf("cuda:%d", i), usable, onGPU(m, g.capability)))
	}
	s.Places = append(s.Places, roomOf(m, "cpu", cpu.Probe().MemoryAvailable/2, // its --memory-ratio when none is given
		onProcessor(m)))
	return s, nil
}

// openHere opens a model with its weights if they are here: the small files alone may be,
// or it is a published configuration.
func openHere(dir string) (*model.Model, error) {
	if m, err := model.Open(dir, false); err == nil {
		return m, nil
	}
	return model.Open(dir, true)
}

// storedText says in which encodings a model's weights are, as far as they are here:
// "Q4_K: embed, qkv, o; Q6_K: down; float32: norms and biases".
func storedText(m *model.Model) string {
	var parts []string
	for _, s := range m.Stored() {
		parts = append(parts, s.Encoding.String()+": "+strings.Join(s.Roles, ", "))
	}
	return strings.Join(parts, "; ")
}

// measure takes sizes from a program: layers are counted by their attention or
// their states, heads are those of the first attention.
func (s *Shown) measure(p *program.Program) {
	for _, op := range p.Ops {
		switch o := op.(type) {
		case *program.Embed:
			s.Hidden = o.Out.Width
		case *program.Delta:
			s.Layers++
		case *program.Attend:
			if s.Layers++; s.Heads == 0 {
				s.Heads, s.KVHeads = o.Heads, o.Cache.Heads
			}
		}
	}
}

// usefulContext is how many tokens must fit for a model to be of use.
const usefulContext = 1024

// gpuSize is what is to be known of a GPU of this machine.
type gpuSize struct {
	bytes      int64
	capability int
}

// holding is a way for a device to hold a model's weights.
type holding struct {
	flags string // that ask for it; "": none do
	// size says as what it then holds them, and the bytes that takes.
	size func() (held string, bytes int64, err error)
}

// onGPU are the ways of a GPU of that compute capability.
func onGPU(m *model.Model, capability int) []holding {
	as := func(flags string, dtype model.DType, quantization string) holding {
		return holding{flags, func() (string, int64, error) {
			held, err := device.HeldOnGPU(m, dtype, quantization, capability)
			if err != nil {
				return "", 0, err
			}
			info := device.Info{DType: model.BFloat16}
			if held.Own != nil {
				info.Held = &held
			}
			return info.Formats(), m.WeightBytes(held), nil
		}}
	}
	return []holding{as("", "", ""), as("--quantization fp8", "", model.FP8), as("--dtype int4", model.Int4, "")}
}

func onProcessor(m *model.Model) (ways []holding) {
	for _, dtype := range []model.DType{"", model.Int8, model.Int4} {
		ways = append(ways, holding{prefixed("--dtype ", string(dtype)), func() (string, int64, error) {
			return cpu.Size(m, dtype)
		}})
	}
	return ways
}

// roomOf says what of a model a device of so much usable memory holds in the first of
// some ways, and what to change when that is little: the others take less.
func roomOf(m *model.Model, name string, usable int64, ways []holding) Room {
	c := &m.Config
	r := Room{Device: name, Bytes: usable, Token: c.CacheBytes(model.BFloat16)}
	held, bytes, err := ways[0].size()
	if r.DType, r.Weights = held, bytes; err != nil {
		r.Advice = err.Error()
		return r
	}
	if held == string(model.Float32) {
		r.Token = c.CacheBytes(model.Float32)
	}
	if usable <= 0 {
		r.Advice = "how much memory there is is not known"
		return r
	}
	fit := func(weights int64) int {
		return int(max(0, min(int64(c.MaxPositions), (usable-weights)/max(r.Token, 1))))
	}
	enough := min(usefulContext, c.MaxPositions)
	r.Tokens = fit(r.Weights)
	r.Fits = r.Tokens >= enough
	rounded, least := "", r.Weights
	for _, way := range ways[1:] {
		_, bytes, err := way.size()
		if err != nil || bytes >= least {
			continue
		}
		if least = bytes; fit(least) >= enough {
			rounded = way.flags
			break
		}
	}
	switch {
	case r.Fits && r.Tokens == c.MaxPositions:
	case r.Fits && rounded != "":
		r.Advice = fmt.Sprintf("longer requests fit with %s (%d tokens) or a larger --memory-ratio", rounded, fit(least))
	case r.Fits:
		r.Advice = "longer requests fit with a larger --memory-ratio"
	case rounded != "":
		r.Advice = fmt.Sprintf("%s needs %s for its weights, which leaves room for %d tokens", rounded, bytesText(least), fit(least))
	default:
		r.Advice = fmt.Sprintf("it takes %s at least: free memory, raise --memory-ratio, or take a smaller model", bytesText(least+int64(enough)*r.Token))
	}
	return r
}

func (s *Shown) print(w io.Writer) error {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-12s%s\n", name, fmt.Sprintf(format, args...))
	}
	line("Model", "%s", s.Name)
	if s.Dir != "" {
		line("Directory", "%s", s.Dir)
	}
	line("Family", "%s: %d layers of %d, %d heads (%d of keys and values), %d tokens", s.Family, s.Layers, s.Hidden, s.Heads, s.KVHeads, s.Vocab)
	active := ""
	if s.ActiveParams != s.Params {
		active = ", of which a token meets " + count(s.ActiveParams)
	}
	line("Parameters", "%s%s", count(s.Params), active)
	line("Format", "%s", s.format())
	line("Context", "%d tokens", s.Context)
	switch {
	case !s.Tokenizer:
		line("Chat", "no: there is no tokenizer.json, so only prompts of token ids are answered")
	case !s.ChatTemplate:
		line("Chat", "no: there is no chat template, so texts are completed alone")
	default:
		line("Chat", "yes")
	}
	for _, r := range s.Places {
		line("On "+r.Device, "%s", r.text())
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// format says how the weights are published.
func (s *Shown) format() string {
	kind, stored := "safetensors", s.Stored
	if strings.HasSuffix(s.Dir, ".gguf") {
		kind = "GGUF"
	}
	if stored == "" {
		stored = s.DType
	}
	return kind + ", " + stored
}

func (r *Room) text() string {
	verdict := "does not fit"
	if r.Fits {
		verdict = fmt.Sprintf("fits, with %d tokens of context", r.Tokens)
	}
	of := fmt.Sprintf("weights %s as %s and %s a token, of %s that may be used", bytesText(r.Weights), r.DType, bytesText(r.Token), bytesText(r.Bytes))
	if r.Bytes <= 0 {
		verdict, of = "unknown", fmt.Sprintf("weights %s as %s and %s a token", bytesText(r.Weights), r.DType, bytesText(r.Token))
	}
	return verdict + ": " + of + prefixed("; ", r.Advice)
}

func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + text
}

// count is a large number as people say it.
func count(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.2f billion", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.1f million", float64(n)/1e6)
	}
	return fmt.Sprint(n)
}
