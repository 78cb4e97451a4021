package cli

import (
	"github.com/spf13/pflag"

	"nestling.dev/nestling/pkg/deploy"
)

// createFlags are those of create that say what the tenant is.
type createFlags struct{ given deploy.Options }

func addCreateFlags(flags *pflag.FlagSet) *createFlags {
	f := &createFlags{given: deploy.Default()}
	flags.StringVar(&f.given.Image, "image", f.given.Image, "image of the control plane")
	flags.BoolVar(&f.given.Ephemeral, "ephemeral", false, "keep the data in an emptyDir: it is gone with the pod")
	flags.BoolVar(&f.given.Namespaced, "namespaced", false, "need nothing outside the namespace: the tenant sees only the nodes that run its pods")
	flags.StringVar(&f.given.StorageClass, "storage-class", "", "storage class of the volume; empty is the host's default")
	return f
}

func (f *createFlags) options(name string) (deploy.Options, error) {
	f.given.Tenant = name
	return f.given, nil
}
