package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io/fs"

	"github.com/troupe-llm/troupe/actors/wire"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
)

// identify is what an engine must have in common with a front and with other engines.
func identify(m *model.Model, info *device.Info) wire.Identity {
	encoding := fmt.Sprintf("%s, %s", info.Formats(), info.KVDType)
	if info.Deterministic {
		encoding += ", deterministic"
	}
	return wire.Identity{Version: wire.Version, Model: m.Name, Sizes: Sizes(m), Weights: fingerprint(m), Tokenizer: TokenizerHash(m.Files), Encoding: encoding}
}

// Sizes are a model's, by which a front that has no weights tells it from others with the same tokenizer; ""
// where nothing says.
func Sizes(m *model.Model) string {
	p := m.Config.Program
	if p == nil {
		return ""
	}
	return fmt.Sprintf("%s of %d layers and %d parameters", m.Config.Architecture, len(p.Caches), p.Params())
}

// TokenizerHash is that of a tokenizer's files, "" where there are none.
func TokenizerHash(files fs.FS) string {
	if files == nil {
		return ""
	}
	h := sha256.New()
	for _, name := range []string{"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"} {
		if data, err := fs.ReadFile(files, name); err == nil {
			fmt.Fprintf(h, "%s %d:", name, len(data))
			h.Write(data)
		}
	}
	return sum(h)
}

// sampled is how many bytes of a tensor are looked at in each of three places.
const sampled = 256

// fingerprint tells a model's weights from others: by the names, shapes and encodings of all tensors and
// some bytes of each, at the beginning, in the middle and at the end. To read all of them would take
// longer than to start; another training changes every tensor everywhere.
func fingerprint(m *model.Model) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s %d;", m.Config.Architecture, m.Config.Vocab)
	if m.Weights == nil {
		fmt.Fprintf(h, "random, of %s", m.Name)
		return sum(h)
	}
	for _, w := range m.Config.Program.Weights {
		slot := m.Weights.Of(w)
		if slot == nil {
			continue
		}
		for i := range slot.Sources {
			t := slot.Sources[i].Tensor
			fmt.Fprintf(h, "%s %v %v %d:", t.Name, t.Shape, t.Encoding, len(t.Data))
			for _, at := range []int{0, len(t.Data) / 2, len(t.Data) - sampled} {
				at = max(0, at)
				h.Write(t.Data[at:min(len(t.Data), at+sampled)])
			}
			t.Drop() // each look keeps 64 KiB of a mapped file in memory
		}
	}
	return sum(h)
}

func sum(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }
