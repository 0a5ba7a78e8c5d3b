package responses

import (
	"sort"

	"github.com/troupe-llm/troupe/tokenize"
)

// fit leaves out of the conversation what the context has no room for, as
// "truncation": "auto" wants it: whole exchanges, from what a user said up to what
// the next one did, the oldest first. What systems say at the beginning stays, and so
// does the last exchange: with it alone too long, the engine refuses the request.
func (r *Request) fit() {
	list := r.Chat.Messages
	first := 0 // behind the systems
	for first < len(list) && list[first].Text("role") != "user" && list[first].Text("role") != "assistant" && list[first].Text("role") != "tool" {
		first++
	}
	cuts := []int{first}
	for i := first + 1; i < len(list); i++ {
		if list[i].Text("role") == "user" {
			cuts = append(cuts, i)
		}
	}
	room := r.model().Context - max(r.Engine.MaxTokens, 1)
	from := func(cut int) []tokenize.Message { return append(list[:first:first], list[cut:]...) }
	fits := func(i int) bool {
		chat := r.Chat
		chat.Messages = from(cuts[i])
		tok := r.model().Tokenizer
		if tok == nil || tok.LeastChatTokens(&chat) > room {
			return false
		}
		prompt, err := tok.Render(chat)
		return err != nil || len(tok.Encode(prompt, false)) <= room // the engine will say what is wrong
	}
	if r.model().Tokenizer == nil || len(cuts) < 2 {
		return
	}
	i := sort.Search(len(cuts)-1, fits)
	r.Chat.Messages = from(cuts[i])
}
