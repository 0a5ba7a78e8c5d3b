package main

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/http"
)

// completeValues teaches shells the values of a command's flags: choices,
// devices, models; names of files and directories where those are wanted.
func completeValues(cmd *cobra.Command) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		v, ok := f.Value.(*flagValue)
		if !ok {
			return
		}
		complete := v.completion()
		if complete == nil { // files
			return
		}
		if err := cmd.RegisterFlagCompletionFunc(f.Name, complete); err != nil {
			panic("flag --" + f.Name + ": " + err.Error())
		}
	})
}

// completion is what completes the flag's value, nil for the shell's own of
// files.
func (v *flagValue) completion() cobra.CompletionFunc {
	value := v.tags.Get("value")
	switch choices := v.tags.Get("choices"); {
	case choices != "":
		return cobra.FixedCompletions(strings.Split(choices, ","), cobra.ShellCompDirectiveNoFileComp)
	case v.name == "model":
		return completeModel
	case v.name == "device":
		return cobra.FixedCompletions([]string{"auto", "cpu", "cuda", "cuda:0", "sim:h200"}, cobra.ShellCompDirectiveNoFileComp)
	case v.name == "tool-call-parser":
		return cobra.FixedCompletions(http.ToolCallParsers, cobra.ShellCompDirectiveNoFileComp)
	case v.name == "reasoning-parser":
		return cobra.FixedCompletions(http.ReasoningParsers, cobra.ShellCompDirectiveNoFileComp)
	case v.Type() == "bool":
		return cobra.FixedCompletions([]string{"true", "false"}, cobra.ShellCompDirectiveNoFileComp)
	case strings.Contains(value, "DIR"):
		return cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs)
	case strings.Contains(value, "FILE"):
		return nil
	}
	return cobra.NoFileCompletions
}

// completeModel lists models by name: those that can be run, and published ones for
// dummy weights. Directories are models, too.
func completeModel(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return append(runnableModels(cmd), model.Published()...), cobra.ShellCompDirectiveDefault
}

// runnableModels are the built-in one and those in the cache.
func runnableModels(cmd *cobra.Command) []string {
	return append([]string{model.Builtin}, cachedNames(environOf(cmd.Context()))...)
}
