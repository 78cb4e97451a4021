package cli

// exitError ends us with a code of its own: that of a command that we have run.
type exitError struct {
	code int
	// cause is told in one line; nil: the command has said what there is to say.
	cause error
}

func (e *exitError) Error() string {
	if e.cause == nil {
		return ""
	}
	return e.cause.Error()
}

func (e *exitError) Unwrap() error { return e.cause }
