package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// completionPatience is how long a shell may hang on a host.
const completionPatience = 2 * time.Second

// completeTenants lets every command that takes the NAME of a tenant that exists complete it from the host.
func completeTenants(host *hostFlags) cobra.CompletionFunc {
	return func(command *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(command.Context(), completionPatience)
		defer cancel()
		tenants, namespace, err := host.fleet()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		found, err := tenants.List(ctx, namespace)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var out []string
		for _, tenant := range found {
			if strings.HasPrefix(tenant.Name, typed) {
				out = append(out, tenant.Name+"\t"+string(tenant.State))
			}
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	}
}
