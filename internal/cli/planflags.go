package cli

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"github.com/stoop-dev/stoop/orchestration"
	"github.com/stoop-dev/stoop/orchestration/agent"
)

// planFlags are how plans and their tasks are carried out.
type planFlags struct {
	parallel                       int
	timeout                        time.Duration
	context                        map[string]string
	mock                           bool
	agentURL, agentModel, agentKey string
}

func (p *planFlags) flags(fs *pflag.FlagSet, getenv func(string) string) {
	fs.Func("parallel", "work on `N` orders and tasks at once, 1 to 1024 (default 10, or what a plan says)", func(text string) (err error) {
		if p.parallel, err = strconv.Atoi(text); err != nil || p.parallel < 1 || p.parallel > 1024 {
			return errors.New("write a number from 1 to 1024")
		}
		return nil
	})
	fs.DurationVar(&p.timeout, "task-timeout", 5*time.Minute, "how long one attempt at a task of a plan may take")
	fs.StringToStringVar(&p.context, "context", nil, "`KEY=VALUE,...` that tasks of plans refer to as {{plan.context.KEY}} and executors are told")
	fs.BoolVar(&p.mock, "mock", false, "carry out no tool_call, atomic or llm_call task and change no package: only try plans out")
	fs.StringVar(&p.agentURL, "agent-url", getenv("STOOP_AGENT_URL"), "`URL` of an OpenAI-compatible API, the part before /chat/completions, for atomic and llm_call tasks (environment: STOOP_AGENT_URL)")
	fs.StringVar(&p.agentModel, "agent-model", getenv("STOOP_AGENT_MODEL"), "`MODEL` of tasks that name none (environment: STOOP_AGENT_MODEL)")
	fs.StringVar(&p.agentKey, "agent-key-file", getenv("STOOP_AGENT_KEY_FILE"), "`FILE` with the key for --agent-url (environment: STOOP_AGENT_KEY_FILE, or the key itself in STOOP_AGENT_KEY)")
}

// options puts what the flags say into opts.
func (p *planFlags) options(opts *orchestration.Options, getenv func(string) string) error {
	if p.timeout <= 0 {
		return usageError("--task-timeout is %s: write a time span such as 5m", p.timeout)
	}
	opts.Parallel, opts.TaskTimeout, opts.Context, opts.Mock = p.parallel, p.timeout, p.context, p.mock
	if p.agentURL == "" {
		return nil
	}
	key := getenv("STOOP_AGENT_KEY")
	if p.agentKey != "" {
		b, err := os.ReadFile(p.agentKey)
		if err != nil {
			return fmt.Errorf("reading the agent's key: %w", err)
		}
		key = strings.TrimSpace(string(b))
	}
	opts.Agent = &agent.Chat{BaseURL: p.agentURL, Key: key, DefaultModel: p.agentModel}
	return nil
}
