package main

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// Build is what is known of this program's making.
type Build struct {
	Version  string `json:"version"`          // the module's, "(devel)" when built from a checkout
	Commit   string `json:"commit,omitempty"` // "" when the build did not record it
	Modified bool   `json:"modified"`         // the checkout differed from the commit
	Time     string `json:"commit_time,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	Tags     string `json:"tags,omitempty"` // build tags, comma separated
	Cgo      bool   `json:"cgo"`
}

func thisBuild() Build {
	b := Build{Version: "(devel)", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if info.Main.Version != "" {
		b.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		case "-tags":
			b.Tags = s.Value
		case "CGO_ENABLED":
			b.Cgo = s.Value == "1"
		}
	}
	return b
}

func (b Build) String() string {
	var out strings.Builder
	fmt.Fprintf(&out, "troupe %s\n", b.Version)
	if b.Commit != "" {
		modified := ""
		if b.Modified {
			modified = ", modified"
		}
		fmt.Fprintf(&out, "commit %s (%s%s)\n", b.Commit, b.Time, modified)
	}
	fmt.Fprintf(&out, "%s %s", b.Go, b.Platform)
	if b.Tags != "" {
		fmt.Fprintf(&out, ", tags %s", b.Tags)
	}
	return out.String()
}

func newVersion() *cobra.Command {
	var options struct {
		JSON bool `flag:"json" help:"print JSON"`
	}
	cmd := &cobra.Command{Use: "version [flags]", Short: "Say which build this is", Args: noArgs}
	found := bind(cmd, section{"Output", &options})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := found.err(); err != nil {
			return err
		}
		if options.JSON {
			return printJSON(cmd.OutOrStdout(), thisBuild())
		}
		_, err := fmt.Fprintln(cmd.OutOrStdout(), thisBuild())
		return err
	}
	return cmd
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
