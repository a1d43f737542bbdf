// Package agent carries out the tasks that need a language model, atomic and
// llm_call, over an OpenAI-compatible chat endpoint.
//
// An [Executor] makes one attempt. Its errors carry a cause, see
// [dag.CauseOf], and implement [dag.RetryAfter] where the server said when to
// come back; trying again is package dag's work.
//
// The client is net/http with the stream decoder of github.com/openai/openai-go.
// That library's client can't be had without its types for all other endpoints:
// 20 MB more in the binary and a millisecond more at each start.
package agent

import "context"

// The kinds of tasks.
const (
	Atomic  = "atomic"
	LLMCall = "llm_call"
)

// MaxAnswer is how long an answer may be, in bytes of its text.
const MaxAnswer = 8 << 20

// Request is one call of an agent.
type Request struct {
	Task        string            // path of the task, for logs; the caller puts it before errors
	Kind        string            // Atomic or LLMCall
	Model       string            // empty: the client's default model
	System      string            // system prompt, may be empty
	Prompt      string            // of LLMCall: the prompt; of Atomic: what is to be done
	Inputs      map[string]any    // told to the model as JSON after the prompt; of LLMCall only when not empty
	Context     map[string]string // of the plan's run; told to the model after the system prompt when not empty
	Schema      map[string]any    // JSON schema of the answer, of type object; nil: the answer is text
	MaxTokens   int               // most tokens of the answer, those of reasoning included; 0: the server's default
	Temperature *float64          // nil: the server's default
}

// Response is the answer to a Request.
type Response struct {
	// Outputs are the answer's top-level properties when there is a Schema, else
	// the answer as "text". They are what JSON has: maps with keys that are
	// strings, slices, strings, numbers, booleans and nil; structs, pointers and
	// bytes fail the task. A plan hands on whole numbers as int64, others as
	// float64.
	Outputs map[string]any
	Model   string // that answered, as the server calls it
	// Tokens as the server counted them; 0 when it doesn't say.
	InputTokens, OutputTokens int
}

// Executor carries out agent tasks. Its methods may be called concurrently;
// without an error there is a Response.
type Executor interface {
	Execute(ctx context.Context, r Request) (*Response, error)
}
