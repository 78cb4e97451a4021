package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// Flags is the configuration as the command line gives it.
type Flags struct {
	file string
	set  *pflag.FlagSet
}

// AddFlags registers --config and one flag per field.
func AddFlags(set *pflag.FlagSet) *Flags {
	flags := &Flags{set: set}
	set.StringVar(&flags.file, "config", "", "configuration file (apiVersion: "+APIVersion+", kind: "+Kind+")")
	bind(set, fields(Default())) // the values land in a throw-away; Load sets the ones that were given on the real one
	return flags
}

// Load merges defaults, environment, file and flags. lookup is os.LookupEnv.
func (f *Flags) Load(lookup func(string) (string, bool)) (*Config, error) {
	c := Default()
	c.applyEnv(lookup)
	if f.file != "" {
		if err := c.readFile(f.file); err != nil {
			return nil, err
		}
		if c.Sync.Preflight == nil { // an explicit null: YAML's word for "as if not given"
			c.Sync.Preflight = Default().Sync.Preflight
		}
	}
	return c, f.apply(c)
}

// apply sets on c the flags that were given.
func (f *Flags) apply(c *Config) error { return applyFlags(f.set, fields(c)) }

// AddExposureFlags registers the flags of apiServer.exposure only. apply sets those that were given.
func AddExposureFlags(set *pflag.FlagSet) (apply func(*Config) error) {
	bind(set, exposureFields(Default()))
	return func(c *Config) error { return applyFlags(set, exposureFields(c)) }
}

func exposureFields(c *Config) []Field {
	return slices.DeleteFunc(fields(c), func(field Field) bool { return !strings.HasPrefix(field.Path, "apiServer.exposure.") })
}

func applyFlags(given *pflag.FlagSet, to []Field) error {
	target := pflag.NewFlagSet("", pflag.ContinueOnError)
	bind(target, to)
	var failed error
	given.Visit(func(given *pflag.Flag) {
		if target.Lookup(given.Name) == nil {
			return // a flag of somebody else
		}
		if err := target.Set(given.Name, given.Value.String()); err != nil {
			failed = errors.Join(failed, fmt.Errorf("--%s: %w", given.Name, err))
		}
	})
	return failed
}

func bind(set *pflag.FlagSet, fields []Field) {
	for _, field := range fields {
		flag := set.VarPF(field.value, field.Flag, field.Short, field.Usage)
		if field.value.Type() == "bool" {
			flag.NoOptDefVal = "true"
		}
	}
}

// list is a comma-separated flag. The first one given replaces what the file says; further ones add to it.
type list struct {
	to    *[]string
	given bool
}

func (l *list) String() string {
	if l.to == nil {
		return ""
	}
	return strings.Join(*l.to, ",")
}

func (l *list) Set(in string) error {
	if !l.given {
		*l.to, l.given = nil, true
	}
	for item := range strings.SplitSeq(in, ",") {
		if item = strings.TrimSpace(item); item != "" {
			*l.to = append(*l.to, item)
		}
	}
	return nil
}

func (*list) Type() string { return "strings" }

// numberError drops strconv's repetition of the input; pflag says which flag and which value.
func numberError(err error) error {
	var number *strconv.NumError
	if errors.As(err, &number) {
		return number.Err
	}
	return err
}
