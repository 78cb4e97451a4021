package config

import (
	"cmp"
	"strings"
)

// Error is bad input: the user has to change the configuration. Main ends with code 2 on it.
type Error struct {
	// Of says what the fields are of; empty is "config".
	Of       string
	Problems []Problem
}

// Problem is one mistake.
type Problem struct {
	// Field is the path in the file, such as "apiServer.port"; empty if the whole file is meant.
	Field string
	// Detail says what is wrong and what would be right.
	Detail string
}

func (p Problem) String() string {
	if p.Field == "" {
		return p.Detail
	}
	return p.Field + ": " + p.Detail
}

// Error is one line, whatever the number of problems.
func (e *Error) Error() string {
	lines := make([]string, 0, len(e.Problems))
	for _, problem := range e.Problems {
		lines = append(lines, problem.String())
	}
	return cmp.Or(e.Of, "config") + ": " + strings.ReplaceAll(strings.Join(lines, "; "), "\n", " ")
}

func problem(field, detail string) *Error {
	return &Error{Problems: []Problem{{Field: field, Detail: detail}}}
}
