package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/troupe-llm/troupe/gpu"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
)

// Formats measures what it costs to hold a model otherwise than exactly: replies
// are written by the model in float32, drawn as it thinks likely, and each format
// says how likely it finds every token of them. So the text is of the kind the
// model knows, and what a format finds it less likely by is, on average, how far it
// is from the model (the Kullback-Leibler divergence).
type Formats struct {
	Device  string // "cpu"; it must score tokens and hold float32
	Model   *model.Model
	Prompts [][]int32
	Tokens  int // of a reply, at most
	Seed    uint64

	Progress func(done, total int64) // of formats; nil: nobody listens
}

// Held is a format: types of weights, and of keys and values.
type Held struct{ Weights, KV model.DType }

// heldFormats are those that are measured; the first writes, the second is what
// others are compared with, too.
var heldFormats = []Held{
	{model.Float32, model.Float32},
	{model.BFloat16, model.BFloat16},
	{model.BFloat16, model.Int8},
	{model.Int8, model.BFloat16},
	{model.Int8, model.Int8},
	{model.Int4, model.BFloat16},
	{model.Int4, model.Int8},
}

// asItIs is measured, too, of a model that is quantised.
var asItIs = Held{"", model.BFloat16}

// formats are those of the model.
func (f *Formats) formats() []Held {
	if !slices.Contains(model.Quantized, f.Model.Config.DType) {
		return heldFormats
	}
	return slices.Insert(slices.Clone(heldFormats), 2, asItIs)
}

// FormatLoss is what a format makes of the replies.
type FormatLoss struct {
	Held
	WeightBytes int64
	Tokens      int
	Loss        float64 // mean of −ln p, of a token
	// Above is how much more that is than in bfloat16, and Error the standard error
	// of it: of the differences token by token.
	Above, Error float64
	// Same is the share of tokens of which the likeliest is the one of float32.
	Same float64
}

// Run measures all formats.
func (f *Formats) Run(ctx context.Context) ([]FormatLoss, error) {
	var (
		replies [][]int32
		all     []FormatLoss
		first   []tokenScore
		second  []tokenScore
	)
	formats := f.formats()
	for i, held := range formats {
		d, err := f.open(held)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			replies, err = d.write(ctx, f)
		}
		var scores []tokenScore
		if err == nil {
			scores, err = d.score(ctx, f.Prompts, replies)
		}
		if err = errors.Join(err, d.Close()); err != nil {
			return nil, fmt.Errorf("weights as %s, keys and values as %s: %w", held.Weights, held.KV, err)
		}
		switch i {
		case 0:
			first, second = scores, scores
		case 1:
			second = scores
			all[0].compare(first, second, first)
		}
		info := d.Info()
		held.Weights = cmp.Or(held.Weights, model.DType(info.Formats()+", as it is"))
		one := FormatLoss{Held: held, WeightBytes: info.WeightBytes}
		one.compare(scores, second, first)
		all = append(all, one)
		if f.Progress != nil {
			f.Progress(int64(i+1), int64(len(formats)))
		}
	}
	return all, nil
}

// compare fills in what scores say, beside those in bfloat16 and in float32.
func (l *FormatLoss) compare(scores, bf16, exact []tokenScore) {
	var loss, sum, squares float64
	same := 0
	for i, s := range scores {
		d := bf16[i].logprob - s.logprob
		loss, sum, squares = loss-s.logprob, sum+d, squares+d*d
		if s.likeliest == exact[i].likeliest {
			same++
		}
	}
	n := float64(len(scores))
	l.Tokens, l.Loss, l.Above, l.Same = len(scores), loss/n, sum/n, float64(same)/n
	l.Error = math.Sqrt(max(squares/n-l.Above*l.Above, 0) / n)
}

// tokenScore is what a format says of a token.
type tokenScore struct {
	logprob   float64
	likeliest int32
}

// scorer is a device that one request after the other has to itself.
type scorer struct {
	device.Device
	seq uint64
}

func (f *Formats) open(held Held) (*scorer, error) {
	longest := 0
	for _, p := range f.Prompts {
		longest = max(longest, len(p))
	}
	length := longest + f.Tokens
	d, err := gpu.Open(device.Spec{
		Device: f.Device, Model: f.Model, DType: held.Weights, KVDType: held.KV, Slots: 1, MaxSeqLen: length, MaxStepTokens: length,
	})
	if err != nil {
		return nil, err
	}
	return &scorer{Device: d}, nil
}

// run runs a step of one row of slot 0, which a request gets when it starts at 0.
func (d *scorer) run(row batch.Row, sampling batch.Sampling) (*batch.Result, error) {
	d.seq++
	s := &batch.Step{Seq: d.seq, Rows: []batch.Row{row}, NumTokens: row.Len()}
	if row.Tokens == nil {
		s.NumDecode = 1
	}
	if row.Start == 0 {
		info := d.Info()
		s.Slots = []batch.SlotInit{{Sampling: sampling}}
		for i := range info.PagesPerSlot() {
			s.Pages = append(s.Pages, batch.PageEntry{Index: int32(i), Page: int32(i)})
		}
	}
	if err := d.Launch(s); err != nil {
		return nil, err
	}
	var r batch.Result
	return &r, d.Wait(&r)
}

// write has the model reply to each prompt, up to a token that ends it.
func (d *scorer) write(ctx context.Context, f *Formats) (replies [][]int32, err error) {
	for i, prompt := range f.Prompts {
		row := batch.Row{Tokens: prompt, Sample: true}
		var reply []int32
		for len(reply) < f.Tokens && ctx.Err() == nil {
			r, err := d.run(row, batch.Sampling{Temperature: 1, Seed: f.Seed + uint64(i)})
			if err != nil {
				return nil, err
			}
			reply = append(reply, r.Tokens[0])
			if f.ends(r.Tokens[0]) {
				break
			}
			row = batch.Row{Start: int32(len(prompt) + len(reply) - 1), Sample: true}
		}
		replies = append(replies, reply)
	}
	return replies, ctx.Err()
}

func (f *Formats) ends(token int32) bool {
	for _, eos := range f.Model.Config.EOS {
		if token == eos {
			return true
		}
	}
	return false
}

// score says how likely each token of the replies is.
func (d *scorer) score(ctx context.Context, prompts, replies [][]int32) (all []tokenScore, err error) {
	for i, reply := range replies {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		text := append(append([]int32{}, prompts[i]...), reply...)
		last := len(text) - 1
		r, err := d.run(batch.Row{Tokens: text[:last], Score: text[1:]}, batch.Sampling{Logprobs: 2})
		if err != nil {
			return nil, err
		}
		for _, s := range r.Scores[len(prompts[i])-1:] {
			all = append(all, tokenScore{float64(s.Token), s.Top[0].Token})
		}
	}
	return all, nil
}

// WriteFormats writes losses as a table.
func WriteFormats(w io.Writer, losses []FormatLoss) error {
	_, err := fmt.Fprintf(w, "| weights | keys and values | MB of weights | loss a token | above bfloat16 | likeliest as in float32 |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, l := range losses {
		if err != nil {
			break
		}
		_, err = fmt.Fprintf(w, "| %s | %s | %.1f | %.5f | %+.5f ± %.5f | %.2f%% |\n", l.Weights, l.KV, float64(l.WeightBytes)/1e6, l.Loss, l.Above, l.Error, 100*l.Same)
	}
	if err == nil && len(losses) > 0 {
		_, err = fmt.Fprintf(w, "\n%d tokens, written by the model in float32; losses in nats, ± a standard error of the differences token by token.\n", losses[0].Tokens)
	}
	return err
}
