package render

import (
	"context"
	"fmt"
	"sync"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/ext"
)

// condition is the compiled CEL expression of a step.
type condition struct{ program cel.Program }

// maxConditionCost bounds the evaluation of a condition, in CEL's units: some
// seconds of work.
const maxConditionCost = 50_000_000

// conditions is the environment of conditions. Making it costs more than many a
// render, so that only a pipeline with a condition does.
var conditions = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(
		cel.Variable("resources", cel.ListType(cel.DynType)),
		cel.DefaultUTCTimeZone(true),
		cel.CrossTypeNumericComparisons(true),
		cel.OptionalTypes(),
		ext.Strings(), ext.Sets(), ext.Lists(),
	)
})

// compileCondition reads a condition, an expression that is true or false of
// the list `resources`.
func compileCondition(source string) (*condition, error) {
	env, err := conditions()
	if err != nil {
		return nil, err
	}
	ast, issues := env.Compile(source)
	if err := issues.Err(); err != nil {
		return nil, err
	}
	if t := ast.OutputType(); !t.IsExactType(cel.BoolType) && !t.IsExactType(cel.DynType) {
		return nil, fmt.Errorf("it is of type %s: want an expression that is true or false", t)
	}
	program, err := env.Program(ast, cel.CostLimit(maxConditionCost), cel.InterruptCheckFrequency(100))
	if err != nil {
		return nil, err
	}
	return &condition{program}, nil
}

// holds evaluates the condition over what the step would get.
func (c *condition) holds(ctx context.Context, given []*item) (bool, error) {
	resources := make([]any, len(given))
	for i, it := range given {
		r, err := it.view().Map()
		if err != nil {
			return false, err
		}
		resources[i] = r
	}
	out, _, err := c.program.ContextEval(ctx, map[string]any{"resources": resources})
	if err != nil {
		return false, err
	}
	met, ok := out.Value().(bool)
	if !ok {
		return false, fmt.Errorf("it is of type %s: want an expression that is true or false", out.Type().TypeName())
	}
	return met, nil
}
