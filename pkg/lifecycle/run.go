package lifecycle

import (
	"context"
	"errors"
)

// Run starts the components in order and blocks until all have ended.
func Run(ctx context.Context, components []Component, opts Options) error {
	return errors.New("lifecycle: not written yet")
}
