// Package dialect is what an API is in which clients ask for text: how a request is
// read, and how its answer is written. The server knows no more of any.
//
// Read dialect.go, which is the interface, then chat, the dialect with the most
// to it. Pointers go one way:
//
//	http ─▶ chat, text, …                      a dialect each
//	             ├─▶ openai                    what OpenAI's completions have in common
//	             ├─▶ conversation              messages, tools, tool_choice, effort
//	             │        └─▶ draft            sampling, stops, formats: the engine's request
//	             ├─▶ dialect                   this package
//	             │        └─▶ model            the served model, and bounds
//	             ├─▶ leniency                  fields that are other servers', a table
//	             ├─▶ field ─▶ apierr           JSON that is read, by fields; what is wrong with it
//	             └─▶ jsonenc, http/internal/sse         JSON that is written; frames of events
//
// # A request's way
//
// The server reads the body and calls Decode. It submits the Call's Requests,
// and waits until each was accepted; what fails until then has a status, and a body
// by AppendError. From then on the Call's writer appends what there is to say:
// Begin once, Delta for whatever comes, End; of a stream also Ping when nothing
// was written for a while, and Fail instead of End. What a text means is found
// out before: a Delta has parts, of text, of reasoning and of calls (begun, their
// arguments, complete), with tokens and their log-probabilities.
//
// # To add one
//
//  1. A package beside chat. Its Request embeds conversation.Conversation, or
//     draft.Draft where there is no conversation; its Fields are a field.Table,
//     put together of what is shared and what is its own by field.Join and
//     field.Lift; leniency.Join adds what is another server's. What it has in another shape than OpenAI's chat it checks itself,
//     by its own names, and then hands on as conversation has it: SetMessages,
//     SetTools.
//  2. Decode: field.Decode, own checks, Conversation.Check, Model.Name,
//     Conversation.Complete; then Draft.Choices are the Requests.
//  3. Its writers: of a stream, with frames by http/internal/sse; of a whole answer, which
//     collects (Collected) and appends all of it in End. A writer is one answer's
//     and may count items and events. Delta is called for every token: it appends
//     by hand (jsonenc) and allocates nothing for text.
//  4. AppendError; openai.Errors embedded is OpenAI's.
//  5. A line in http/routes.go (dialects), its fields in http/openapi.json, which
//     http/openapi_test.go holds against the table, and golden transcripts
//     (http/transcript_test.go).
package dialect
