package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/http"
)

// serving is what serve drains and closes: a model, or several.
type serving interface {
	OpenRequests() int
	Retire()
	Drain(context.Context) error
	Failed() <-chan struct{}
	Close() error
}

// openServed opens what is served and has the server serve it. ready is called when requests are computed, of several
// models those of one: with what to call it, and with the system.
func openServed(cmd *cobra.Command, cfg *Config, engine actors.Config, server *http.Server, log zerolog.Logger, ready func(string, *actors.System)) (serving, error) {
	if cfg.several() {
		return openSeveral(cmd, cfg, engine, server, log, ready)
	}
	system, err := actors.Open(engine)
	if err != nil {
		return nil, err
	}
	logLoaded(system, log.With().Str("model", system.Model().Name).Logger())
	server.Attach(system)
	ready(cfg.servedName(system), system)
	return system, nil
}

// openSeveral is openServed of several models, each of which is served when its first engine is there.
func openSeveral(cmd *cobra.Command, cfg *Config, engine actors.Config, server *http.Server, log zerolog.Logger, ready func(string, *actors.System)) (serving, error) {
	specs := make([]string, len(cfg.Engine.Models))
	for i, name := range cfg.Engine.Models {
		var err error
		if specs[i], err = findModel(cmd, name, noWeights, log); err != nil {
			return nil, err
		}
	}
	models, err := actors.OpenModels(engine, specs)
	if err != nil {
		return nil, err
	}
	all, _ := cfg.ofModels() // was checked
	names := make([]string, len(all))
	for i := range all {
		if len(all[i].Names) == 0 {
			all[i].Names = []string{models.Names[i]}
		}
		names[i] = all[i].Names[0]
	}
	if err := server.Announce(all); err != nil {
		return nil, fmt.Errorf("%w: --served-model-name MODEL=NAME names one otherwise", err)
	}
	var first sync.Once
	return models, models.Join(func(i int, system *actors.System) {
		logLoaded(system, log.With().Str("model", names[i]).Logger())
		server.AttachModel(i, system)
		first.Do(func() { ready(strings.Join(names, ", "), system) })
	})
}

// several reports whether there is more than one model.
func (c *Config) several() bool { return len(c.Engine.Models) > 1 }

// checkModels adds what is wrong with several models.
func (c *Config) checkModels(found *faults) {
	n := len(c.Engine.Models)
	if n == 1 {
		return
	}
	if !c.Cluster.FrontOnly {
		found.add("--model is given %d times; several are for troupe serve --front-only, for which engines on other hosts compute them, of one model each", n)
		return
	}
	for i, name := range c.Engine.Models {
		if slices.Contains(c.Engine.Models[:i], name) {
			found.add("--model %q is given twice", name)
		}
	}
	if c.Server.Trace != "" {
		found.add("--trace is of one model, and --model is given %d times", n)
	}
	all, faults := c.ofModels()
	found.all = append(found.all, faults...)
	for _, m := range all {
		if err := (http.Config{ToolCallParser: m.ToolCallParser, ReasoningParser: m.ReasoningParser}).Check(); err != nil {
			found.add("%s", asFlags.Replace(err.Error()))
		}
	}
}

// ofModels says how clients ask for each of several models and how its replies are read, as flags have it, and what
// of those is of no model.
func (c *Config) ofModels() ([]http.Model, []error) {
	all := make([]http.Model, len(c.Engine.Models))
	var faults []error
	// of finds whose a MODEL=VALUE is; -1: that is none.
	of := func(text string) (int, string) {
		for i, name := range c.Engine.Models {
			if value, is := strings.CutPrefix(text, name+"="); is {
				return i, value
			}
		}
		return -1, text
	}
	for _, text := range c.Server.ServedModelName {
		if i, name := of(text); i >= 0 {
			all[i].Names = append(all[i].Names, name)
			continue
		}
		faults = append(faults, fmt.Errorf("--served-model-name is %q; with several models it must be MODEL=NAME, and a --model be MODEL", text))
	}
	parser := func(flag, text string, into func(*http.Model) *string) {
		var given []int
		rest := ""
		for part := range strings.SplitSeq(text, ",") {
			i, value := of(part)
			switch {
			case i >= 0:
				*into(&all[i]) = value
				given = append(given, i)
			case strings.Contains(part, "="):
				faults = append(faults, fmt.Errorf("--%s has %q; it must be FAMILY, for all models, or MODEL=FAMILY, and a --model be MODEL", flag, part))
			default:
				rest = value
			}
		}
		for i := range all {
			if !slices.Contains(given, i) {
				*into(&all[i]) = rest
			}
		}
	}
	parser("tool-call-parser", c.Server.ToolCallParser, func(m *http.Model) *string { return &m.ToolCallParser })
	parser("reasoning-parser", c.Server.ReasoningParser, func(m *http.Model) *string { return &m.ReasoningParser })
	return all, faults
}
