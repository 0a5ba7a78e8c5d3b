package wire

import (
	"errors"
	"fmt"
)

// Version is that of the messages. Ends of different versions do not talk to each other.
const Version = 3

// Identity is what a front and an engine, and all engines of a front, must have in common before a
// request crosses: else tokens would mean something else here and there, or a request that is
// resumed would go on otherwise than it began. A field that one of two does not know is empty.
type Identity struct {
	Version   uint32
	Model     string // its name: for messages, and where several models have all else in common
	Sizes     string // of the model, for people to read
	Weights   string // a fingerprint of them
	Tokenizer string // a hash of its files
	Encoding  string // how weights, keys and values are held
}

// Agree says what two have not in common.
func (i *Identity) Agree(o *Identity) error {
	if i.Version != o.Version {
		return fmt.Errorf("messages are of version %d here and of %d there: update the older one", i.Version, o.Version)
	}
	var all []error
	if i.Sizes != "" && o.Sizes != "" && i.Sizes != o.Sizes {
		all = append(all, fmt.Errorf("the sizes of %s: %s here, %s there", i.Model, i.Sizes, o.Sizes))
	}
	for _, f := range []struct{ what, here, there string }{
		{"weights", i.Weights, o.Weights}, {"tokenizer", i.Tokenizer, o.Tokenizer}, {"encoding of weights, keys and values", i.Encoding, o.Encoding},
	} {
		if f.here != "" && f.there != "" && f.here != f.there {
			all = append(all, fmt.Errorf("the %s of %s: %.16s here, %.16s there", f.what, i.Model, f.here, f.there))
		}
	}
	return errors.Join(all...)
}
