package cli

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/yaml"

	"nestling.dev/nestling/pkg/config"
	"nestling.dev/nestling/pkg/deploy"
)

// deployFlags are those of every command that makes a tenant's manifests.
type deployFlags struct {
	set *pflag.FlagSet
	// files are of values, and config one of settings.
	files  []string
	config string

	given       deploy.Options
	storageSize string
	fsGroup     int64
	exposure    func(*config.Config) error

	// stdin is read for a file of the name -.
	stdin io.Reader
}

// addDeployFlags registers them. The namespace is a flag of the command's own.
func addDeployFlags(flags *pflag.FlagSet) *deployFlags {
	f := &deployFlags{set: flags, stdin: os.Stdin}
	defaults := deploy.Default()
	flags.StringArrayVarP(&f.files, "values", "f", nil, "file of values, as the Helm chart takes them, or - for standard input; one given later goes over one before, and flags go over all")
	flags.StringVar(&f.config, "config", "", "configuration file whose settings the tenant gets; what it leaves out keeps the default of the version that runs")
	flags.StringVar(&f.given.Image, "image", defaults.Image, "image of the control plane")
	flags.BoolVar(&f.given.Ephemeral, "ephemeral", false, "keep the data in an emptyDir: it is gone with the pod")
	flags.BoolVar(&f.given.Namespaced, "namespaced", false, "need nothing outside the namespace: the tenant sees only the nodes that run its pods")
	flags.StringVar(&f.storageSize, "storage-size", defaults.StorageSize.String(), "size of the volume")
	flags.StringVar(&f.given.StorageClass, "storage-class", "", "storage class of the volume; empty is the host's default")
	flags.BoolVar(&f.given.KeepVolume, "keep-volume", false, "keep the volume when the StatefulSet is deleted")
	flags.Int64Var(&f.fsGroup, "fs-group", *defaults.FSGroup, "group that owns the volume; -1 leaves it to the platform, as OpenShift wants")
	f.exposure = config.AddExposureFlags(flags)
	return f
}

// options are what the files and the flags say about the tenant of that name. The namespace is the caller's to fill in;
// deploy.Options.Validate checks all of it.
func (f *deployFlags) options(name string) (deploy.Options, error) {
	values, err := f.values(name)
	if err != nil {
		return deploy.Options{}, err
	}
	options, err := values.Options(name, "")
	if err != nil {
		return deploy.Options{}, err
	}
	for flag, apply := range map[string]func() error{
		"image":         func() error { options.Image = f.given.Image; return nil },
		"ephemeral":     func() error { options.Ephemeral = f.given.Ephemeral; return nil },
		"namespaced":    func() error { options.Namespaced = f.given.Namespaced; return nil },
		"storage-class": func() error { options.StorageClass = f.given.StorageClass; return nil },
		"keep-volume":   func() error { options.KeepVolume = f.given.KeepVolume; return nil },
		"fs-group": func() error {
			options.FSGroup = &f.fsGroup
			if f.fsGroup < 0 {
				options.FSGroup = nil
			}
			return nil
		},
		"storage-size": func() error {
			if options.StorageSize, err = resource.ParseQuantity(f.storageSize); err != nil {
				return fmt.Errorf("--storage-size: %q is not a quantity such as 5Gi", f.storageSize)
			}
			return nil
		},
	} {
		if !f.set.Changed(flag) {
			continue
		}
		if err := apply(); err != nil {
			return deploy.Options{}, &usageError{err}
		}
	}
	if err := f.exposure(&options.Config); err != nil {
		return deploy.Options{}, &usageError{err}
	}
	return options, nil
}

// values are those of all files, in their order, and over them the settings of --config.
func (f *deployFlags) values(tenant string) (*deploy.Values, error) {
	var files []deploy.ValuesFile
	for _, name := range f.files {
		data, err := f.read(name)
		if err != nil {
			return nil, &usageError{fmt.Errorf("--values: %w", err)}
		}
		files = append(files, deploy.ValuesFile{Name: name, Data: data})
	}
	if f.config != "" {
		file, err := settings(f.config, tenant)
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return deploy.ReadValues(files...)
}

func (f *deployFlags) read(name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(f.stdin)
	}
	return os.ReadFile(name)
}

// settings are a configuration file as values.
func settings(name, tenant string) (deploy.ValuesFile, error) {
	read, err := config.File(name) // says what is wrong with it
	if err != nil {
		return deploy.ValuesFile{}, err
	}
	if read.Tenant != "" && read.Tenant != tenant {
		return deploy.ValuesFile{}, &usageError{fmt.Errorf("--config: %s is for tenant %q, not for %q", name, read.Tenant, tenant)}
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return deploy.ValuesFile{}, &usageError{fmt.Errorf("--config: %w", err)}
	}
	var content any
	if err := yaml.Unmarshal(data, &content); err != nil {
		return deploy.ValuesFile{}, &usageError{fmt.Errorf("--config: %s: %w", name, err)}
	}
	data, err = yaml.Marshal(map[string]any{"config": content})
	return deploy.ValuesFile{Name: name, Data: data}, err
}
