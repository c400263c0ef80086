// What is too small for threads stays a plain loop.
// run: lower parallel
// kernel k(x: f32[1000]) -> (y):
//   y[i] := x[i] + 1.0
// expect:
// module {
//   func.func @k(%x: memref<?xf32>, %y: memref<?xf32>, %errors: memref<?xi64>) {
//     %c0 = arith.constant 0 : index
//     %c1000 = arith.constant 1000 : index
//     %c1 = arith.constant 1 : index
//     %cst = arith.constant 1.0 : f32
//     scf.for %i = %c0 to %c1000 step %c1 {
//       %0 = memref.load %x[%i] : memref<?xf32>
//       %1 = arith.addf %0, %cst : f32
//       memref.store %1, %y[%i] : memref<?xf32>
//       scf.yield
//     } {tdsl.vector}
//     func.return
//   }
// }
