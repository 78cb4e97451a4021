package resources_test

import (
	"testing"

	"nestling.dev/nestling/syncer/resources"
	"nestling.dev/nestling/syncer/resources/golden"
)

func TestConfigMaps(t *testing.T) { t.Parallel(); golden.Run(t, resources.ConfigMaps(false)) }
func TestSecrets(t *testing.T)    { t.Parallel(); golden.Run(t, resources.Secrets(false)) }
func TestServices(t *testing.T)   { t.Parallel(); golden.Run(t, resources.Services()) }
func TestNodes(t *testing.T)      { t.Parallel(); golden.Run(t, resources.Nodes(true)) }
func TestEvents(t *testing.T)     { t.Parallel(); golden.Run(t, resources.Events()) }
