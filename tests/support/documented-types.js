"use strict"

// Values held against the types of index.d.ts, field by field, by what the TypeScript compiler knows of them.

const path = require("node:path")
const ts = require("typescript")

const file = path.join(__dirname, "..", "..", "index.d.ts")

/** The types that index.d.ts exports, and which of their fields have been seen with a value. */
class DocumentedTypes {
  #checker
  /** @type {Map<string, import("typescript").Type>} */
  #types = new Map()
  /** @type {Set<string>} */
  #seen = new Set()

  constructor() {
    const program = ts.createProgram([file], {strict: true, noEmit: true, target: ts.ScriptTarget.ES2022})
    this.#checker = program.getTypeChecker()
    const source = program.getSourceFile(file)
    const module = source && this.#checker.getSymbolAtLocation(source)
    if (module === undefined) throw new Error(`${file} cannot be read`)
    for (const symbol of this.#checker.getExportsOfModule(module)) {
      this.#types.set(symbol.name, this.#checker.getDeclaredTypeOfSymbol(symbol))
    }
  }

  /**
   * In what way a value, as JSON has it, is not what the type says: nothing that is not documented may be there, and
   * everything that is documented must.
   *
   * @param {string} name of the type
   * @param {unknown} value
   * @returns {string[]}
   */
  deviations(name, value) {
    return this.#deviations(value, this.#type(name), name)
  }

  /**
   * The documented fields that no value had so far, but for `null` and empty lists, as `Type.field`.
   *
   * @param {string[]} names of types
   */
  unseen(names) {
    const fields = names.flatMap((name) => this.#fields(this.#type(name)).map((field) => `${name}.${field.name}`))
    return fields.filter((field) => !this.#seen.has(field))
  }

  /** @param {string} name */
  #type(name) {
    const type = this.#types.get(name)
    if (type === undefined) throw new Error(`index.d.ts has no type ${name}`)
    return type
  }

  /** @param {import("typescript").Type} type */
  #fields(type) {
    return this.#checker.getPropertiesOfType(type)
  }

  /**
   * @param {unknown} value
   * @param {import("typescript").Type} type
   * @param {string} place
   * @returns {string[]}
   */
  #deviations(value, type, place) {
    if (type.isUnion()) {
      const tried = type.types.map((member) => this.#deviations(value, member, place))
      // Where none fits, the one that fits best says most.
      return tried.reduce((best, next) => (next.length < best.length ? next : best))
    }
    const {flags} = type
    const isSimple = flags & (ts.TypeFlags.Any | ts.TypeFlags.Unknown) || this.#isOf(value, type)
    if (isSimple) return []
    const isObject = typeof value === "object" && value !== null && flags & ts.TypeFlags.Object
    if (!isObject) return [`${place} is ${JSON.stringify(value)}, not ${this.#checker.typeToString(type)}`]
    if (this.#checker.isArrayType(type)) {
      const [element] = this.#checker.getTypeArguments(/** @type {import("typescript").TypeReference} */ (type))
      if (!Array.isArray(value)) return [`${place} is no list`]
      return value.flatMap((each) => this.#deviations(each, element, `${place}[]`))
    }
    return this.#deviationsOfFields(/** @type {Record<string, unknown>} */ (value), type, place)
  }

  /**
   * @param {Record<string, unknown>} value
   * @param {import("typescript").Type} type
   * @param {string} place
   * @returns {string[]}
   */
  #deviationsOfFields(value, type, place) {
    const fields = this.#fields(type)
    const others = type.getStringIndexType()
    const documented = fields.flatMap((field) => {
      const at = `${place}.${field.name}`
      if (!(field.name in value)) return field.flags & ts.SymbolFlags.Optional ? [] : [`${at} is missing`]
      const found = value[field.name]
      const says = Array.isArray(found) ? found.length > 0 : found !== null
      if (says) this.#seen.add(`${this.#checker.typeToString(type)}.${field.name}`)
      return this.#deviations(found, this.#checker.getTypeOfSymbol(field), at)
    })
    const rest = Object.keys(value).filter((name) => !fields.some((field) => field.name === name))
    const undocumented = rest.flatMap((name) => {
      const at = `${place}.${name}`
      return others ? this.#deviations(value[name], others, at) : [`${at} is not documented`]
    })
    return [...documented, ...undocumented]
  }

  /**
   * @param {unknown} value
   * @param {import("typescript").Type} type anything but an object
   */
  #isOf(value, type) {
    if (type.isStringLiteral() || type.isNumberLiteral()) return value === type.value
    // `string & {}` beside literals: any other text.
    if (type.isIntersection()) return typeof value === "string"
    const {flags} = type
    if (flags & ts.TypeFlags.String) return typeof value === "string"
    if (flags & ts.TypeFlags.Number) return typeof value === "number"
    if (flags & ts.TypeFlags.BooleanLiteral) return String(value) === this.#checker.typeToString(type)
    return Boolean(flags & ts.TypeFlags.Null) && value === null
  }
}

module.exports = {DocumentedTypes}
