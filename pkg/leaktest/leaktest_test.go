package leaktest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWhatStaysIsALeakAndWhatEndsIsNone(t *testing.T) {
	stay := make(chan struct{})
	go func() { <-stay }()
	require.ErrorContains(t, find(0, nil), "leaktest.TestWhatStaysIsALeakAndWhatEndsIsNone")

	time.AfterFunc(time.Second, func() { close(stay) }) // later than goleak alone would wait
	VerifyNone(t)
}
