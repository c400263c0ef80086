// Axes that everything walks together are one loop.
// run: lower
// kernel k(x: f32[32,8,4], b: f32[8,4]) -> (y):
//   y[n, i, j] := x[n, i, j] + b[i, j]
// expect:
// module {
//   func.func @k(%x: memref<?xf32>, %b: memref<?xf32>, %y: memref<?xf32>, %errors: memref<?xi64>) {
//     %c0 = arith.constant 0 : index
//     %c32 = arith.constant 32 : index
//     %c1 = arith.constant 1 : index
//     scf.for %i = %c0 to %c32 step %c1 {
//       %0 = arith.muli %i, %c32 : index
//       scf.for %i_1 = %c0 to %c32 step %c1 {
//         %1 = arith.addi %0, %i_1 : index
//         %2 = memref.load %x[%1] : memref<?xf32>
//         %3 = memref.load %b[%i_1] : memref<?xf32>
//         %4 = arith.addf %2, %3 : f32
//         memref.store %4, %y[%1] : memref<?xf32>
//         scf.yield
//       } {tdsl.vector}
//       scf.yield
//     } {tdsl.parallel, tdsl.cost = 128 : i64}
//     func.return
//   }
// }
