package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/model/hub"
)

// hubModel is a model by its name on a hub, OWNER/NAME or OWNER/NAME:REVISION, or in a
// GGUF file OWNER/NAME:QUANTISATION.
type hubModel struct{ repo, revision, gguf string }

func (m hubModel) String() string {
	return m.repo + prefixed(":", m.revision) + prefixed(":", m.gguf)
}

// named takes apart what hubName has found: what names a quantisation is none of a
// revision.
func named(parts []string) hubModel {
	if quantisations.MatchString(parts[2]) {
		return hubModel{repo: parts[1], gguf: parts[2]}
	}
	return hubModel{repo: parts[1], revision: parts[2]}
}

var (
	hubName = regexp.MustCompile(`^([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?::(\S+))?$`)
	// quantisations are how GGUF files are told apart, as in OWNER/NAME:Q4_K_M.
	quantisations = regexp.MustCompile(`(?i)^(UD-)?(I?Q[1-8]|TQ[12]|MXFP4|BF16|F16|F32)(_\w+)*$`)
)

// part is how much of a model is wanted.
type part int

const (
	whole      part = iota
	noWeights       // random ones will do; so does a published configuration
	tokenizing      // its tokenizer
)

// part is what the command's model is opened with.
func (e *Engine) part() part {
	if e.DummyWeights {
		return noWeights
	}
	return whole
}

// onHub takes a --model for a name on a hub: not when there is a directory of
// that name, nor, without weights, for a published configuration.
func onHub(spec string, want part) (hubModel, bool) {
	parts := hubName.FindStringSubmatch(spec)
	if parts == nil {
		return hubModel{}, false
	}
	if _, err := os.Stat(spec); err == nil {
		return hubModel{}, false
	}
	_, name, _ := strings.Cut(parts[1], "/")
	if want == noWeights && parts[2] == "" && slices.Contains(model.Published(), strings.ToLower(name)) {
		return hubModel{}, false
	}
	return named(parts), true
}

// hub is what Hugging Face's variables say: where models are kept, and whom to
// ask for others.
func (e environ) hub() (hub.GetConfig, error) {
	c := hub.GetConfig{Offline: isTrue(e["HF_HUB_OFFLINE"])}
	c.Endpoint = e["HF_ENDPOINT"]
	home, err := e.hfHome()
	c.Cache = e.expand(firstOf(e["HF_HUB_CACHE"], e["HUGGINGFACE_HUB_CACHE"]))
	if c.Cache == "" {
		if err != nil {
			return c, err
		}
		c.Cache = filepath.Join(home, "hub")
	}
	c.Token = firstOf(e["HF_TOKEN"], e["HUGGING_FACE_HUB_TOKEN"])
	if c.Token == "" && !isTrue(e["HF_HUB_DISABLE_IMPLICIT_TOKEN"]) {
		data, err := os.ReadFile(firstOf(e.expand(e["HF_TOKEN_PATH"]), filepath.Join(home, "token"))) // where logging in with Hugging Face's tools leaves it
		if err == nil {
			c.Token = strings.TrimSpace(string(data))
		}
	}
	return c, nil
}

// hfHome is the directory of Hugging Face's tools.
func (e environ) hfHome() (string, error) {
	switch {
	case e["HF_HOME"] != "":
		return e.expand(e["HF_HOME"]), nil
	case e["XDG_CACHE_HOME"] != "":
		return filepath.Join(e.expand(e["XDG_CACHE_HOME"]), "huggingface"), nil
	case e.home() == "":
		return "", errors.New("there is no home directory to keep models in: set HF_HOME")
	}
	return filepath.Join(e.home(), ".cache", "huggingface"), nil
}

func (e environ) home() string { return firstOf(e["HOME"], e["USERPROFILE"]) }

// expand puts the home directory in place of a leading ~.
func (e environ) expand(path string) string {
	if rest, is := strings.CutPrefix(path, "~"); is && (rest == "" || rest[0] == '/') && e.home() != "" {
		return e.home() + rest
	}
	return path
}

func firstOf(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}

func isTrue(text string) bool {
	return slices.Contains([]string{"1", "true", "yes", "on"}, strings.ToLower(text))
}

// findModel returns what model.Open takes for a --model: of a name on a hub the
// directory, pulled when it is not there, as far as it is wanted.
func findModel(cmd *cobra.Command, spec string, want part, log zerolog.Logger) (string, error) {
	name, is := onHub(spec, want)
	if !is {
		return spec, unheardOf(spec)
	}
	got, err := getModel(cmd, name, want, log)
	switch {
	case errors.Is(err, hub.ErrNotFound): // it may have been meant for a path
		return "", fmt.Errorf("%w; and there is no directory %s", err, spec)
	case err != nil:
		return "", err
	}
	return got.Path, nil
}

// unheardOf is the error for a word that names no directory and nothing that is inside:
// most likely a hub's model without its owner.
func unheardOf(spec string) error {
	if spec == "" || strings.ContainsAny(spec, `/\.~`) {
		return nil
	}
	if _, err := os.Stat(spec); err == nil || spec == model.Builtin || slices.Contains(model.Published(), strings.ToLower(spec)) {
		return nil
	}
	_, err := model.Open(spec, true)
	return fmt.Errorf("%w; a hub's models are named OWNER/NAME, as Qwen/Qwen3-0.6B", err)
}

func getModel(cmd *cobra.Command, name hubModel, want part, log zerolog.Logger) (*hub.Got, error) {
	c, err := environOf(cmd.Context()).hub()
	if err != nil {
		return nil, err
	}
	ctx, cancel := interruptible(cmd.Context())
	defer cancel()
	if name.gguf != "" && want == noWeights {
		c.Offline = true // a file of gigabytes is not pulled to be looked at
	}
	c.Repo, c.Revision, c.GGUF, c.NoWeights = name.repo, name.revision, name.gguf, want != whole
	c.Progress = showProgress(cmd.ErrOrStderr(), log, "pulling "+name.String(), true)
	c.Retrying = showRetries(log)
	got, err := hub.Get(ctx, c)
	switch {
	case errors.Is(err, context.Canceled):
		return nil, context.Canceled
	case errors.Is(err, fs.ErrNotExist) && name.gguf != "" && want == noWeights:
		return nil, fmt.Errorf("%s is not here yet, and what a GGUF file has is known when it is: troupe pull %s", name, name)
	case err != nil:
		return nil, err
	case got.Doubt != nil:
		log.Warn().Err(got.Doubt).Str("model", name.String()).Msg("the cache holds no tokenizer of it, and the hub could not be asked for one")
	case got.Pulled != nil:
		log.Info().Str("model", name.String()).Str("commit", got.Commit).Int64("fetched_bytes", got.Pulled.Fetched).Msg("pulled")
	}
	return got, nil
}

// engine is the configuration of the system that serves the model, which is
// pulled when it is not there.
func (c *Config) engine(cmd *cobra.Command, log zerolog.Logger) (actors.Config, error) {
	engine := c.actors(log, cmd.ErrOrStderr())
	var err error
	want := c.Engine.part()
	if c.Cluster.FrontOnly {
		want = noWeights
	}
	engine.Model, err = findModel(cmd, c.Engine.Model(), want, log)
	return engine, err
}

// lacking tells, for people, what a model's files do not allow.
func lacking(system *actors.System) string {
	switch t := system.Tokenizer(); {
	case t == nil:
		return "the checkpoint has no tokenizer.json, so prompts must be token ids, for POST /v1/completions, and replies are token ids, which return_token_ids shows"
	case !t.HasChatTemplate():
		return "the checkpoint has no chat template, so /v1/chat/completions fails; /v1/completions and troupe complete --raw go on with texts"
	}
	return ""
}
