package main

import (
	"context"

	"github.com/spf13/pflag"

	"github.com/cert-manager/cert-manager/internal/webhook"
	logf "github.com/cert-manager/cert-manager/pkg/logs"
	"github.com/cert-manager/cert-manager/pkg/webhook/options"
)

// newWebhook validates and completes cert-manager's objects. It makes a CA of its own,
// in a Secret, for its serving certificate.
func newWebhook(flags *pflag.FlagSet) (func(ctx context.Context) error, error) {
	config, err := options.NewWebhookConfiguration()
	if err != nil {
		return nil, err
	}
	options.AddConfigFlags(flags, config)
	return func(ctx context.Context) error {
		server, err := webhook.NewCertManagerWebhookServer(logf.FromContext(ctx), *config)
		if err != nil {
			return err
		}
		return server.Run(ctx)
	}, nil
}
