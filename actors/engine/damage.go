package engine

import (
	"sync"
	"sync/atomic"

	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/gpu/model"
)

// damage looks for weights that are no numbers, once, when a token could not be drawn:
// at the start it would take as long as reading all weights. It has a goroutine of its
// own for that, which ends before the model's memory does.
type damage struct {
	once sync.Once
	stop atomic.Bool
	over sync.WaitGroup
}

// undrawn is what the request is told.
const undrawn = "no token can be drawn: what the model computes is not a number, as with weights that are none; the server's log names those"

// look begins to. The log has what it finds.
func (d *damage) look(m *model.Model, log zerolog.Logger) {
	d.once.Do(func() {
		d.over.Go(func() {
			switch names := m.Damaged(d.stop.Load); {
			case d.stop.Load():
			case len(names) == 0:
				log.Error().Str("model", m.Name).Msg("no token could be drawn, and all weights in floating point are finite numbers: computing with them overflows")
			default:
				log.Error().Str("model", m.Name).Int("tensors", len(names)).Strs("first", names[:min(len(names), 8)]).
					Msg("no token could be drawn, for weights are no finite numbers: the checkpoint is damaged")
			}
		})
	})
}

// end gives up looking.
func (d *damage) end() {
	d.stop.Store(true)
	d.over.Wait()
}
