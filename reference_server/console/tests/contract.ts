// Prints what the package knows of the server's contract, for the comparison with the contract itself.
import * as contract from '../src/generation/contract.ts'

console.log(JSON.stringify(contract))
