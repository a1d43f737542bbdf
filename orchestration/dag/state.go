package dag

// State is where a step is.
type State uint8

// The states of a step. The last five are ends.
const (
	Pending   State = iota // waits for other steps, or for its next attempt
	Ready                  // all it needs is there; waits for a slot, or is held
	Executing              // its attempt, or a step inside it, is at work
	Completed              // done
	Failed                 // its last attempt failed
	Blocked                // can't begin: a step it needs failed, is blocked or was cancelled
	Skipped                // needn't begin: a condition isn't met
	Cancelled              // didn't begin, or didn't finish, because of a cancellation
)

var stateNames = [...]string{"Pending", "Ready", "Executing", "Completed", "Failed", "Blocked", "Skipped", "Cancelled"}

// String is the state's name.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "invalid"
}

// Ended says whether a step in this state is done with.
func (s State) Ended() bool { return s >= Completed }

// transitions has a bit for every state that may follow.
var transitions = [...]uint16{
	Pending:   1<<Ready | 1<<Blocked | 1<<Skipped | 1<<Cancelled,
	Ready:     1<<Executing | 1<<Completed | 1<<Cancelled,
	Executing: 1<<Pending | 1<<Completed | 1<<Failed | 1<<Cancelled,
	Cancelled: 0, // the ends have no successors
}

// CanBecome says whether a step may go from s to the state that follows.
func (s State) CanBecome(to State) bool {
	return int(s) < len(transitions) && to <= Cancelled && transitions[s]&(1<<to) != 0
}

// Phase is how a run ended.
type Phase string

// The phases of a run.
const (
	RunCompleted Phase = "Completed" // every step ended and none failed
	RunFailed    Phase = "Failed"    // a step failed, time was up, or the graph couldn't go on
	RunCancelled Phase = "Cancelled" // by the caller's context
	RunSuspended Phase = "Suspended" // steps are left because of a hold or the caller's wish
)
