// Package chart generates those parts of the Helm chart in manifests/chart/nestling that would else be said twice: the
// schema and the defaults of its values, the rules of its roles with their conditions, and the shape of the
// configuration file. The templates that make objects are written by hand; a test renders them beside deploy.Objects.
//
// `make update-generated` writes the files. Nothing of this is in the program.
package chart
