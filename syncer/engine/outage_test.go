package engine

import (
	"context"
	"errors"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// refused is what client-go returns where nobody listens.
func refused() error {
	return &url.Error{Op: "Get", URL: "https://10.0.0.1/api", Err: errors.New("connection refused")}
}

func TestAHostThatDoesNotAnswerIsAskedUntilItDoes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked, back := 0, 0
		start := time.Now()
		got, err := persistent(t.Context(), func() { back++ }, func(context.Context) (string, error) {
			if asked++; asked < 60 {
				return "", refused()
			}
			return "list", nil
		})
		require.NoError(t, err)
		require.Equal(t, "list", got)
		require.Equal(t, 1, back)
		require.Equal(t, 59*knock, time.Since(start), "the pauses do not grow")
	})
}

func TestAnAnswerIsNotAskedForAgain(t *testing.T) {
	t.Parallel()
	asked := 0
	_, err := persistent(t.Context(), func() { t.Error("the host was not away") }, func(context.Context) (string, error) {
		asked++
		return "", apierrors.NewUnauthorized("no")
	})
	require.True(t, apierrors.IsUnauthorized(err))
	require.Equal(t, 1, asked)
}

func TestAnErrorOfOurOwnIsNotAnOutage(t *testing.T) {
	t.Parallel()
	asked := 0
	_, err := persistent(t.Context(), func() { t.Error("the host was not away") }, func(context.Context) (string, error) {
		asked++
		return "", errors.New("options can't be encoded")
	})
	require.Error(t, err)
	require.Equal(t, 1, asked)
}

func TestAskingEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	_, err := persistent(ctx, func() {}, func(context.Context) (string, error) {
		cancel()
		return "", refused()
	})
	require.Error(t, err)
}
