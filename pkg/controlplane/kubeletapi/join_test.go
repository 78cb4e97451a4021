package kubeletapi

import (
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

// oneWay is a host that talks and does not listen: writes to it wait until it is closed.
type oneWay struct {
	io.Reader
	ignored *io.PipeWriter
	ignorer *io.PipeReader
}

func (h oneWay) Write(p []byte) (int, error) { return h.ignored.Write(p) }
func (h oneWay) Close() error                { return errors.Join(h.ignorer.Close(), h.ignored.Close()) }

func TestTheHostsLastWordsArriveAtAClientThatStillTalks(t *testing.T) {
	t.Parallel()
	near, far, err := socketPair()
	require.NoError(t, err)
	words, speaker := io.Pipe()
	host := oneWay{Reader: words}
	host.ignorer, host.ignored = io.Pipe()
	ended := make(chan string, 1)
	go func() { ended <- join(t.Context(), client{near, near}, host) }()

	for range 3 { // the first of them is on its way to the host, the last ones are not read
		_, err = far.Write(make([]byte, 64<<10))
		require.NoError(t, err)
	}
	_, err = io.WriteString(speaker, "the exit code")
	require.NoError(t, err)
	require.NoError(t, speaker.Close())
	heard, err := io.ReadAll(far)
	require.NoError(t, err)
	require.Equal(t, "the exit code", string(heard))
	require.NoError(t, far.Close())
	require.Equal(t, "host ended it", <-ended)
}
