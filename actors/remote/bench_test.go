package remote

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/rs/zerolog"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/asynkron/protoactor-go/remote"

	"github.com/troupe-llm/troupe/actors/engine"
	"github.com/troupe-llm/troupe/actors/front"
	"github.com/troupe-llm/troupe/actors/wire"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/tokenize"
)

// source is an engine that a benchmark speaks for, here or elsewhere.
type source struct {
	machine
	got chan wire.Ref
}

func (s *source) Submit(r *wire.Request) { s.got <- r.Ref }
func (s *source) Cancel(wire.Ref)        {}
func (s *source) Info() device.Info {
	return device.Info{Slots: 256, PageSize: 16, Vocab: 512, MaxSeqLen: 1 << 20}
}

// BenchmarkFrontToken is what a token costs a front, in steps of 256 requests: of an engine in its process,
// and of one on another host, from the bytes that gRPC hands over to the stream. What the engine's
// host does, and the kernel and TLS, are not in it.
func BenchmarkFrontToken(b *testing.B) {
	m, err := model.Open(model.Builtin, true)
	if err != nil {
		b.Fatal(err)
	}
	codec, err := tokenize.Load(m.Files)
	if err != nil {
		b.Fatal(err)
	}
	for _, far := range []bool{false, true} {
		b.Run(map[bool]string{false: "here", true: "elsewhere"}[far], func(b *testing.B) { benchmarkFront(b, m, codec, far) })
	}
}

func benchmarkFront(b *testing.B, m *model.Model, codec *tokenize.Tokenizer, far bool) {
	const streams = 256
	src := &source{got: make(chan wire.Ref, streams)}
	var say func(*wire.Batch)
	sys, err := front.Open(front.Config{
		Model: m, Codec: codec, MaxOpenRequests: streams, Tokenizers: 1, Log: zerolog.Nop(), Engines: 1,
		Engine: func(_ uint8, deliver func(*wire.Batch), _ func()) (engine.Engine, error) {
			src.same = front.Identity(m)
			say = deliver
			return src, nil
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	var all []*front.Stream
	var refs []wire.Ref
	for range streams {
		st, err := sys.Submit(&front.Request{Tokens: []int32{1}, IgnoreEOS: true})
		if err != nil {
			b.Fatal(err)
		}
		all, refs = append(all, st), append(refs, <-src.got)
	}
	link := newLink("far", func(*wire.Frame) {}, batch.Now, src.same, zerolog.Nop())
	link.Bind(say, func() {}, nil)
	link.tick(0)
	link.greeted = true
	at := session{id: link.session.id}
	rnd := rand.New(rand.NewPCG(1, 2))
	seq := uint64(0)
	step := func() *wire.Batch {
		seq++
		out := wire.NewBatch(seq, streams)
		for _, ref := range refs {
			out.Outputs = append(out.Outputs, wire.Output{Ref: ref, Token: 3 + rnd.Int32N(500)})
		}
		return out
	}
	const steps = 8 // that wait at a time
	tokens := 0
	var ev front.Output
	for b.Loop() {
		b.StopTimer()
		var batches []*wire.Batch
		var frames [][]byte
		for range steps {
			if out := step(); far {
				frames = append(frames, packed(b, at.number(&wire.Frame{Batch: out})))
			} else {
				batches = append(batches, out)
			}
		}
		b.StartTimer()
		for _, out := range batches {
			say(out)
		}
		for _, bytes := range frames {
			link.hear(unpacked(b, bytes))
		}
		tokens += steps * streams
		for _, st := range all {
			for n := 0; n < steps; n += len(ev.Tokens) {
				if err := st.Next(b.Context(), &ev); err != nil || ev.Final != nil {
					b.Fatal(err, fmt.Sprint(ev.Final))
				}
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(tokens), "ns/token")
}

// packed is a frame as protoactor sends it.
func packed(b *testing.B, f *wire.Frame) []byte {
	b.Helper()
	inner, err := proto.Marshal(wrapperspb.Bytes(f.Encode()))
	if err != nil {
		b.Fatal(err)
	}
	outer, err := proto.Marshal(&remote.RemoteMessage{MessageType: &remote.RemoteMessage_MessageBatch{MessageBatch: &remote.MessageBatch{
		TypeNames: []string{"google.protobuf.BytesValue"}, Envelopes: []*remote.MessageEnvelope{{MessageData: inner}},
	}}})
	if err != nil {
		b.Fatal(err)
	}
	return outer
}

// unpacked reads it, as protoactor and life.receive do.
func unpacked(b *testing.B, bytes []byte) *wire.Frame {
	b.Helper()
	var outer remote.RemoteMessage
	if err := proto.Unmarshal(bytes, &outer); err != nil {
		b.Fatal(err)
	}
	inner, err := remote.Deserialize(outer.GetMessageBatch().Envelopes[0].MessageData, "google.protobuf.BytesValue", 0)
	if err != nil {
		b.Fatal(err)
	}
	f, err := wire.DecodeFrame(inner.(*wrapperspb.BytesValue).Value)
	if err != nil {
		b.Fatal(err)
	}
	return f
}
