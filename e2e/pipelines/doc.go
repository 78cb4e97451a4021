// Package pipelines runs the templates for CI systems as those systems run them: the composite GitHub Action, and the
// GitLab template. It reads the files that people use, and does what their steps say, with the shells and variables of the
// systems; what the templates do not use, it refuses.
package pipelines
