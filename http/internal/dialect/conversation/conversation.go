// Package conversation is a conversation that is being read, whatever API it comes
// by: messages.go makes messages what chat templates want, tools.go has the tools a
// model may call and what its replies may hold, toolchoice.go the calls that
// have to come, or keep to their schemas, effort.go how much it is to reason.
//
// What is read is written as OpenAI's chat has it: a dialect whose requests look
// otherwise rewrites its messages and tools to these, saying itself what is wrong
// with them by its own names.
package conversation

import (
	"crypto/rand"
	"strconv"
	"strings"

	"github.com/troupe-llm/troupe/http/internal/dialect/apierr"
	"github.com/troupe-llm/troupe/http/internal/dialect/draft"
	"github.com/troupe-llm/troupe/http/internal/dialect/field"
	"github.com/troupe-llm/troupe/http/internal/dialect/model"
	"github.com/troupe-llm/troupe/tokenize"
	"github.com/troupe-llm/troupe/tokenize/jinja"
	"github.com/troupe-llm/troupe/tokenize/reply"
)

// Conversation is one that is being read. Check comes when all of it was, then
// Complete; then Engine is a request but for its Chat, which is Chat, and Reply
// is what replies may hold.
type Conversation struct {
	draft.Draft
	Chat tokenize.Chat

	Effort        string // of reasoning, one of Efforts; "": not said
	Thinks        bool   // there is to be reasoning, however much
	Tools         []Tool
	ToolChoice    ToolChoice
	ToolNamed     string        // the tool that was chosen
	allowed       []string      // those that may be called; nil: all
	ParallelCalls bool          // a reply may have several
	Separate      bool          // reasoning from the text
	Unshown       bool          // reasoning is left out of the answer
	Reply         reply.Options // see Complete
}

// New is a conversation in which nothing was said yet.
func New(m *model.Model, notes *field.Notes) Conversation {
	c := Conversation{Draft: draft.New(m, notes), ParallelCalls: true, Separate: true}
	c.Chat.AddGenerationPrompt = true
	return c
}

// Fields are those that OpenAI's chat has beside those of package draft.
var Fields = field.Table[Conversation]{
	"messages":              SetFittingMessages,
	"tools":                 setTools,
	"tool_choice":           setToolChoice,
	"parallel_tool_calls":   field.Boolean(func(c *Conversation, b bool) { c.ParallelCalls = b }),
	"chat_template_kwargs":  setTemplateKwargs,
	"reasoning_effort":      SetEffort,
	"thinking":              setThinking,
	"reasoning":             setReasoning,
	"include_reasoning":     field.Boolean(func(c *Conversation, b bool) { c.Unshown = !b }),
	"separate_reasoning":    field.Boolean(func(c *Conversation, b bool) { c.Separate = b }),
	"documents":             setDocuments,
	"add_generation_prompt": field.Boolean(func(c *Conversation, b bool) { c.Chat.AddGenerationPrompt = b }),
	"chat_template":         field.Refuse[Conversation]("the template is the model's; a request cannot bring its own"),

	// What goes on needs "add_generation_prompt": false beside it.
	"continue_final_message": field.Boolean(func(c *Conversation, b bool) { c.Chat.ContinueFinalMessage = b }),
}

// Check finds what is wrong between fields, and says in Engine.Grammar what the
// reply has to keep to.
func (c *Conversation) Check() *apierr.Error {
	if err := c.leaveAllowed(); err != nil {
		return err
	}
	if err := c.chooseCalls(); err != nil {
		return err
	}
	switch {
	case c.Chat.ContinueFinalMessage && c.Chat.AddGenerationPrompt:
		return apierr.Invalid("continue_final_message", "continue_final_message: needs add_generation_prompt to be false")
	case c.Chat.Kwargs[c.told().name] != nil:
		return apierr.Invalid("reasoning_effort", "reasoning_effort: chat_template_kwargs says it already")
	}
	return c.Draft.Check()
}

// Complete fills in what the request left open.
func (c *Conversation) Complete() {
	c.Draft.Complete()
	if v := c.told(); v.name != "" {
		if c.Chat.Kwargs == nil {
			c.Chat.Kwargs = map[string]any{}
		}
		c.Chat.Kwargs[v.name] = v.value
	}
	if tok := c.Model.Tokenizer; tok != nil {
		c.expect(tok)
	}
}

// CallIDs makes up the ids of calls in one reply, as the templates that will see
// them want them.
type CallIDs struct {
	kind    reply.IDs
	earlier int // calls in the conversation
}

// CallIDs are those of the reply's calls.
func (c *Conversation) CallIDs() (ids CallIDs) {
	if f := c.Model.Family.Format; f != nil {
		ids.kind = f.IDs
	}
	if ids.kind == reply.NamedIDs {
		ids.earlier = earlierCalls(c.Chat.Messages)
	}
	return ids
}

// New is the id of the i-th call, which is of the named tool: prefix and letters
// where a template takes any.
func (ids CallIDs) New(prefix string, name []byte, i int) string {
	switch ids.kind {
	case reply.ShortIDs:
		return rand.Text()[:9]
	case reply.NamedIDs:
		return "functions." + string(name) + ":" + strconv.Itoa(ids.earlier+i)
	}
	return prefix + rand.Text()[:24]
}

// earlierCalls counts the tool calls of a conversation.
func earlierCalls(messages []tokenize.Message) (n int) {
	for _, m := range messages {
		calls, _ := m.Get("tool_calls").([]any)
		n += len(calls)
	}
	return n
}

// lastContent is the text of a conversation's last message.
func lastContent(messages []tokenize.Message) string {
	if len(messages) == 0 {
		return ""
	}
	content := messages[len(messages)-1].Get("content")
	if text, ok := content.(string); ok {
		return text
	}
	var all strings.Builder
	parts, _ := content.([]any) // for a template that looks into them
	for _, p := range parts {
		if p, ok := p.(*jinja.Dict); ok {
			all.WriteString(tokenize.NewObject(p).Text("text"))
		}
	}
	return all.String()
}
